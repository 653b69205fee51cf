import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';

/** One statement of the documentation, and what was seen. */
export interface Result {
  readonly claim: string;
  readonly seen: string;
  readonly passed: boolean;
}

/** Returns the programs that this machine lacks. */
export const missingPrograms = (): string[] =>
  ['prometheus', 'promtool'].filter((program) => spawnSync(program, ['--version']).error !== undefined);

/** Runs promtool. @returns what it printed, and whether it ended with 0. */
export function promtool(args: readonly string[], input = ''): { readonly text: string; readonly passed: boolean } {
  const done = spawnSync('promtool', args, { input, encoding: 'utf8', timeout: 120_000 });
  return { text: `${done.stdout}${done.stderr}`.trim(), passed: done.status === 0 };
}

export const pause = (ms: number): Promise<void> => new Promise((next) => setTimeout(next, ms));

/** Asks every half second until there is an answer. @throws Error that names what was waited for. */
export async function until<T>(what: string, ask: () => Promise<T | undefined>, limitMs = 120_000): Promise<T> {
  const end = performance.now() + limitMs;
  for (;;) {
    const found = await ask();
    if (found !== undefined) return found;
    if (performance.now() > end) throw new Error(`expected ${what} within ${limitMs / 1000} s, got nothing`);
    await pause(500);
  }
}

/** Returns a port that no program listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (typeof address !== 'object' || address === null) throw new Error('expected a port, got a socket without one');
  return address.port;
}

export interface Running {
  readonly process: ChildProcess;
  /** The end of what it wrote. */
  log(): string;
  stop(): Promise<void>;
}

/** Starts a program that this one ends again. */
export function start(program: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Running {
  const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  const keep = (chunk: Buffer) => {
    text = (text + chunk.toString()).slice(-200_000);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  child.on('error', (error) => keep(Buffer.from(error.message)));
  return {
    process: child,
    log: () => text,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 40_000);
      await ended;
      clearTimeout(timer);
    },
  };
}

/** Reads JSON whose form the caller knows. */
export async function json(url: string, init: RequestInit = {}): Promise<Record<string, unknown>> {
  const response = await fetch(url, { signal: AbortSignal.timeout(30_000), ...init });
  return Object(await response.json());
}

/** Returns a list's elements as records; empty where there is no list. */
export const records = (value: unknown): Record<string, unknown>[] => (Array.isArray(value) ? value.map(Object) : []);
