import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A memory cgroup of our own. */
export interface MemoryGroup {
  /** A command that runs another inside the group. */
  readonly wrap: (command: readonly string[]) => [string, ...string[]];
  /** Largest use so far, in bytes. */
  peak(): number;
  remove(): void;
}

interface Version {
  readonly root: string;
  readonly limit: string;
  readonly peak: string;
}

/** Where version 2 stands alone, then version 1. */
const VERSIONS: readonly Version[] = [
  { root: '/sys/fs/cgroup', limit: 'memory.max', peak: 'memory.peak' },
  { root: '/sys/fs/cgroup/memory', limit: 'memory.limit_in_bytes', peak: 'memory.max_usage_in_bytes' },
];

const isUsable = ({ root, limit }: Version) =>
  existsSync(join(root, 'cgroup.procs')) && (limit !== 'memory.max' || existsSync(join(root, 'cgroup.controllers')));

/** Makes a cgroup with a limit of memory, version 2 or 1, or returns why none can be made. */
export function limitMemory(bytes: number): MemoryGroup | string {
  const version = VERSIONS.find(isUsable);
  if (!version) return 'no memory cgroup is mounted here';
  const folder = join(version.root, `winnow-attacks-${process.pid}`);
  try {
    mkdirSync(folder);
    writeFileSync(join(folder, version.limit), String(bytes));
  } catch (error) {
    if (existsSync(folder)) rmdirSync(folder);
    return `no memory cgroup can be made: ${(error as Error).message}`;
  }
  const procs = join(folder, 'cgroup.procs');
  return {
    wrap: (command) => ['/bin/sh', '-c', 'echo $$ > "$0" && exec "$@"', procs, ...command],
    peak: () => Number(readFileSync(join(folder, version.peak), 'utf8')),
    remove: () => rmdirSync(folder),
  };
}
