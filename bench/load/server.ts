import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export interface ServerOptions {
  /** Flags of `winnow serve`, in addition to `--port 0`. */
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Command to run instead of `winnow serve`, and where. */
  readonly command?: readonly [string, ...string[]];
  readonly cwd?: string;
  /** Resolve as soon as the server listens. */
  readonly unready?: boolean;
}

/** A log line of the server. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly msg?: string };

export interface ServerProcess {
  readonly url: string;
  readonly pid: number;
  /** From spawn to the end of the first inference, in milliseconds. */
  readonly readyMs: number;
  readonly log: readonly LogLine[];
  /** Resolves with the first log line that fits. */
  logged(fits: (line: LogLine) => boolean): Promise<LogLine>;
  /** Reads a sample of /metrics; NaN if there is none. `name` may carry labels. */
  metric(name: string): Promise<number>;
  signal(name: NodeJS.Signals): void;
  /** Resolves with the exit code. */
  readonly ended: Promise<number | null>;
  /** Sends SIGTERM, and SIGKILL after 20 s. */
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

/** Waits for a promise, and kills the process if it rejects. */
async function killUnless(ready: Promise<unknown>, child: ChildProcess): Promise<void> {
  try {
    await ready;
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}

/** Batches that a server has run, with their rows and tokens. */
interface BatchShape {
  readonly batches: number;
  readonly rows: number;
  readonly padded: number;
  readonly padding: number;
}

/** Reads the sums of a server's batches from its metrics. */
export async function readBatchShape(url: string): Promise<BatchShape> {
  const lines = (await (await fetch(`${url}/metrics`)).text()).split('\n');
  const sum = (name: string) =>
    lines.filter((line) => line.startsWith(`${name}{`)).reduce((all, line) => all + Number(line.split(' ').at(-1)), 0);
  return {
    batches: sum('winnow_batch_rows_count'),
    rows: sum('winnow_batch_rows_sum'),
    padded: sum('winnow_batch_tokens_sum'),
    padding: sum('winnow_padding_tokens_total'),
  };
}

/** Says what the batches between two readings held. */
export function shapeBetween(before: BatchShape, after: BatchShape): string {
  const batches = after.batches - before.batches;
  if (batches === 0) return 'none';
  const padded = after.padded - before.padded;
  const share = (100 * (after.padding - before.padding)) / padded;
  return `${((after.rows - before.rows) / batches).toFixed(1)} rows, ${(padded / batches).toFixed(0)} tokens, ${share.toFixed(1)} % padding`;
}

/**
 * Starts a server process on a free port and waits for its first inference.
 * @throws Error with its output if it ends before that; with its reason if it does not become ready.
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
  // A failed check is repeated on the next request for readiness only, so the first result is the only one.
  const isReady = logged(({ msg }) => msg === 'readiness').then(({ ready, reason }) => {
    if (ready !== true) throw new Error(`expected a server that becomes ready, got: ${reason}`);
  });
  const { url } = (await Promise.race([logged(({ msg }) => msg === 'listening'), died])) as { url?: string };
  isReady.catch(() => {});
  died.catch(() => {});
  if (!options.unready) await killUnless(Promise.race([isReady, died]), child);
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
      const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
      child.kill('SIGTERM');
      const code = await ended;
      clearTimeout(timer);
      return code;
    },
  };
}
