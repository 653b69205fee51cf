import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { buildah, run } from './tools.ts';

/** Default for a server to listen. */
const START_MS = 120_000;
const EXEC_MS = 180_000;
const PROGRAM_MS = 600_000;

export interface Mount {
  readonly source: string;
  readonly target: string;
  readonly isWritable: boolean;
}

export interface ContainerOptions {
  readonly image: string;
  /** `uid:gid`. */
  readonly user: string;
  /** Of the entry point. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly mounts?: readonly Mount[];
  /** Default: 2 minutes. */
  readonly startMs?: number;
}

/** How a command in a container ended. */
interface Ended {
  readonly code: number;
  readonly output: string;
}

interface ImageConfig {
  readonly Env: readonly string[];
  readonly Entrypoint: readonly string[];
  readonly WorkingDir: string;
  readonly Labels: Readonly<Record<string, string>>;
  readonly User: string;
}

/** What the image says about itself. */
export const configOf = (image: string): ImageConfig =>
  JSON.parse(buildah('inspect', '--type', 'image', image)).Docker.config;

const bind = ({ source, target, isWritable }: Mount) => ({
  destination: target,
  type: 'bind',
  source,
  options: ['rbind', isWritable ? 'rw' : 'ro'],
});

/**
 * Writes the runtime's specification: as Kubernetes' restricted Pod Security has it, with a read-only root, no capabilities, no new
 * privileges, and /tmp in memory. The network is this machine's, so that the server is reached on loopback.
 */
function writeSpecification(
  bundle: string,
  root: string,
  options: ContainerOptions,
  program?: readonly string[],
): void {
  run('runc', ['spec'], { cwd: bundle });
  const file = join(bundle, 'config.json');
  const { linux, mounts, process: main, ...rest } = JSON.parse(readFileSync(file, 'utf8'));
  const config = configOf(options.image);
  const [uid, gid] = options.user.split(':').map(Number);
  const env = Object.entries(options.env ?? {}).map(([name, value]) => `${name}=${value}`);
  const isKept = ({ destination }: { destination: string }) => !destination.startsWith('/sys');
  const memory = { destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'mode=1777'] };
  const specification = {
    ...rest,
    root: { path: root, readonly: true },
    process: {
      ...main,
      terminal: false,
      user: { uid, gid },
      args: program ?? [...config.Entrypoint, ...(options.args ?? [])],
      cwd: config.WorkingDir,
      env: [...config.Env, ...env],
      capabilities: {},
      noNewPrivileges: true,
    },
    mounts: [...mounts.filter(isKept), memory, ...(options.mounts ?? []).map(bind)],
    linux: {
      ...linux,
      resources: undefined,
      namespaces: linux.namespaces.filter(({ type }: { type: string }) => type !== 'network'),
    },
  };
  writeFileSync(file, JSON.stringify(specification));
}

/** Runs a command in a container of the image and returns what it prints. @throws Error with the end of its errors. */
export function runInContainer(options: ContainerOptions, program: readonly string[]): string {
  const bundle = mkdtempSync(join(tmpdir(), 'winnow-bundle-'));
  const from = buildah('from', options.image).trim();
  const runtime = ['--root', join(bundle, 'state')];
  const name = `winnow-${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
  try {
    writeSpecification(bundle, buildah('mount', from).trim(), options, program);
    return run('runc', [...runtime, 'run', '--bundle', bundle, name], { timeoutMs: PROGRAM_MS });
  } finally {
    // A program that crashes as the first process of a container stays, because signals that end others have no effect on it.
    spawnSync('runc', [...runtime, 'delete', '--force', name]);
    buildah('umount', from);
    buildah('rm', from);
    rmSync(bundle, { recursive: true, force: true });
  }
}

export interface Container {
  readonly url: string;
  /** Log lines so far. */
  readonly log: readonly string[];
  /** Runs a command in the container. */
  exec(...args: string[]): Ended;
  /** Processor time of its processes so far, in seconds. */
  processorSeconds(): number;
  /** Sends SIGTERM; resolves to the exit code. */
  stop(): Promise<number | null>;
  remove(): void;
}

/** Clock ticks of /proc in a second. */
const TICKS = 100;

/** Processor time of a process and of those it started, in seconds. */
function processorSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  // Fields 14 and 15 of proc(5): user and system time; the name in parentheses and what is before it are gone.
  const own = (Number(fields[11]) + Number(fields[12])) / TICKS;
  const threads = readdirSync(`/proc/${pid}/task`);
  const started = threads.flatMap((id) =>
    readFileSync(`/proc/${pid}/task/${id}/children`, 'utf8').trim().split(' ').filter(Boolean),
  );
  return started.reduce((sum, child) => sum + processorSeconds(Number(child)), own);
}

async function listening(child: ChildProcess, log: string[], limitMs: number): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const timer = setTimeout(() => reject(new Error(`no server within ${limitMs} ms\n${log.join('\n')}`)), limitMs);
  createInterface({ input: child.stdout! }).on('line', (line) => {
    log.push(line);
    if (!line.startsWith('{')) return;
    const { msg, url } = JSON.parse(line);
    if (msg === 'listening') resolve(url);
  });
  child.stderr!.on('data', (chunk) => log.push(String(chunk)));
  child.on('error', reject);
  child.on('exit', (code) => reject(new Error(`expected a server, got exit code ${code}\n${log.join('\n')}`)));
  return promise.finally(() => clearTimeout(timer));
}

/** Starts `winnow serve` in a container of the image. @throws Error with its log, if it does not listen. */
export async function startContainer(options: ContainerOptions): Promise<Container> {
  const name = `winnow-${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
  const bundle = mkdtempSync(join(tmpdir(), 'winnow-bundle-'));
  const runtime = ['--root', join(bundle, 'state')];
  const from = buildah('from', options.image).trim();
  writeSpecification(bundle, buildah('mount', from).trim(), options);
  const child = spawn('runc', [...runtime, 'run', '--bundle', bundle, name], { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(child, 'exit').then(([code]) => code as number | null);
  const log: string[] = [];
  const remove = () => {
    if (child.exitCode === null) child.kill('SIGKILL');
    buildah('umount', from);
    buildah('rm', from);
    rmSync(bundle, { recursive: true, force: true });
  };
  try {
    const url = await listening(child, log, options.startMs ?? START_MS);
    return {
      url,
      log,
      exec: (...args) => {
        const done = spawnSync('runc', [...runtime, 'exec', name, ...args], { encoding: 'utf8', timeout: EXEC_MS });
        return { code: done.status ?? 255, output: `${done.stdout}${done.stderr}` };
      },
      processorSeconds: () => processorSeconds(JSON.parse(run('runc', [...runtime, 'state', name])).pid),
      stop: () => {
        run('runc', [...runtime, 'kill', name, 'TERM']);
        return ended;
      },
      remove,
    };
  } catch (error) {
    remove();
    throw error;
  }
}
