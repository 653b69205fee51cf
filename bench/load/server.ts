import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export interface ServerOptions {
  /** Flags of `winnow serve` besides `--port 0`. */
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Command to run instead of `winnow serve`, and where. */
  readonly command?: readonly [string, ...string[]];
  readonly cwd?: string;
  /** Return as soon as it listens. */
  readonly unready?: boolean;
}

/** A log line of the server. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly msg?: string };

export interface ServerProcess {
  readonly url: string;
  readonly pid: number;
  /** From spawn to the first real inference done, in milliseconds. */
  readonly readyMs: number;
  readonly log: readonly LogLine[];
  /** Resolves with the first log line that fits. */
  logged(fits: (line: LogLine) => boolean): Promise<LogLine>;
  /** The value of a sample of /metrics; NaN if there is none. `name` may carry labels. */
  metric(name: string): Promise<number>;
  signal(name: NodeJS.Signals): void;
  /** Exit code, when it has ended. */
  readonly ended: Promise<number | null>;
  /** SIGTERM, and SIGKILL if that does not help. */
  stop(): Promise<number | null>;
}

const ROOT = join(import.meta.dirname, '../..');

function followLog(child: ChildProcess) {
  const log: LogLine[] = [];
  const waiting = new Set<(line: LogLine) => void>();
  createInterface({ input: child.stdout! }).on('line', (text) => {
    let line: LogLine;
    try {
      line = JSON.parse(text);
    } catch {
      line = { msg: text };
    }
    log.push(line);
    for (const wait of [...waiting]) wait(line);
  });
  const logged = (fits: (line: LogLine) => boolean) =>
    new Promise<LogLine>((resolve) => {
      const found = log.find(fits);
      if (found) return resolve(found);
      const wait = (line: LogLine) => {
        if (!fits(line)) return;
        waiting.delete(wait);
        resolve(line);
      };
      waiting.add(wait);
    });
  return { log, logged };
}

/** Waits for the process to have what it takes, and ends it where it has not. */
async function stopUnless(fit: Promise<unknown>, child: ChildProcess): Promise<void> {
  try {
    await fit;
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}

/**
 * Starts a real server on a free port and waits until it has done its first real inference.
 * @throws Error with what it wrote, if it ends before; with its reason, if it does not become ready.
 */
export async function startServerProcess(options: ServerOptions = {}): Promise<ServerProcess> {
  const [program, ...rest] = options.command ?? [process.execPath, join(ROOT, 'bin/winnow.mjs'), 'serve'];
  const begin = performance.now();
  const child = spawn(program, [...rest, '--port', '0', ...(options.flags ?? [])], {
    cwd: options.cwd ?? ROOT,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const errors: string[] = [];
  child.stderr!.on('data', (chunk: Buffer) => errors.push(chunk.toString()));
  const ended = once(child, 'exit').then(([code]) => code as number | null);
  const { log, logged } = followLog(child);
  const died = ended.then((code): never => {
    throw new Error(`the server ended with ${code}: ${errors.join('')}${log.slice(-5).map((l) => JSON.stringify(l))}`);
  });
  // A check that failed is only repeated when somebody asks, so the first verdict is the only one.
  const isReady = logged(({ msg }) => msg === 'readiness').then(({ ready, reason }) => {
    if (ready !== true) throw new Error(`expected a server that becomes ready, got one that says: ${reason}`);
  });
  const { url } = (await Promise.race([logged(({ msg }) => msg === 'listening'), died])) as { url?: string };
  isReady.catch(() => {});
  died.catch(() => {});
  if (!options.unready) await stopUnless(Promise.race([isReady, died]), child);
  const readyMs = performance.now() - begin;
  const address = String(url).replace('localhost', '127.0.0.1');
  return {
    url: address,
    pid: child.pid!,
    readyMs,
    log,
    logged,
    ended,
    signal: (name) => void child.kill(name),
    async metric(name) {
      const text = await (await fetch(`${address}/metrics`)).text();
      return Number(
        text
          .split('\n')
          .find((line) => line.startsWith(`${name} `))
          ?.slice(name.length + 1) ?? Number.NaN,
      );
    },
    async stop() {
      const patience = setTimeout(() => child.kill('SIGKILL'), 20_000);
      child.kill('SIGTERM');
      const code = await ended;
      clearTimeout(patience);
      return code;
    },
  };
}
