import { spawnSync } from 'node:child_process';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** What outlives a run: base images and build layers. */
export const CACHE = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'winnow-image');

interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Default: 15 minutes, which a build on a busy machine needs. */
  readonly timeoutMs?: number;
}

/** Runs a program and returns what it printed. @throws Error with the command and the end of its errors. */
export function run(
  program: string,
  args: readonly string[],
  { timeoutMs = 900_000, ...options }: RunOptions = {},
): string {
  const done = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 64e6, timeout: timeoutMs, ...options });
  if (done.status !== 0)
    throw new Error(
      `${program} ${args.join(' ')}: expected exit code 0, got ${done.error?.message ?? done.status}\n${done.stderr?.slice(-2000) ?? ''}`,
    );
  return done.stdout;
}

/**
 * Runs buildah on the storage of these checks, which is no other program's. `WINNOW_STORAGE_DRIVER=vfs` is for machines without overlay file
 * systems; it copies every layer whole.
 */
export function buildah(...args: string[]): string {
  const driver = process.env.WINNOW_STORAGE_DRIVER ?? 'overlay';
  const storage = [
    '--root',
    join(CACHE, driver),
    '--runroot',
    join(CACHE, `${driver}-run`),
    '--storage-driver',
    driver,
  ];
  return run('buildah', [...storage, ...args]);
}

/** Mounts an image's files and calls `work` with their folder. */
export function withFiles<T>(image: string, work: (folder: string) => T): T {
  const container = buildah('from', image).trim();
  try {
    return work(buildah('mount', container).trim());
  } finally {
    buildah('umount', container);
    buildah('rm', container);
  }
}

const PROGRAMS = ['buildah', 'runc', 'mmdebstrap'];

/** Returns the programs that this machine lacks. */
export const missingPrograms = (): string[] =>
  PROGRAMS.filter((program) => spawnSync(program, ['--version']).error !== undefined);

export const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
