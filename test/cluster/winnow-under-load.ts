import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const ROOT = join(import.meta.dirname, '../..');

const FLAGS = [
  ...['--server-port', '0', '--server-host', '127.0.0.1', '--telemetry-log-level', 'info'],
  ...['--inference-hosts', '1', '--inference-threads', '1'],
];

const PASSAGE = 'A flea can live up to a year, but its general lifespan depends on its living conditions. ';

/** Requests by status; 0: no answer. */
export type Answers = ReadonlyMap<number, number>;

interface Load {
  readonly passages: number;
  readonly deadlineMs: number;
  /** Requests a second; it may change. */
  perSecond: number;
}

/** A real server and what is sent to it. */
export interface WinnowUnderLoad {
  readonly url: string;
  /** Sums the samples of a metric. */
  metric(name: string): Promise<number>;
  /**
   * Sends requests in an open loop until the signal aborts, each with a deadline, without waiting for answers.
   * @returns The answers so far, and a promise of the last one.
   */
  load(load: Load, signal: AbortSignal): { readonly answers: Answers; readonly ended: Promise<void> };
  close(): Promise<void>;
}

async function urlOf(child: ChildProcess): Promise<string> {
  for await (const line of createInterface({ input: child.stdout! })) {
    const { msg, url } = JSON.parse(line) as { msg?: string; url?: string };
    if (msg === 'listening' && url) return url;
  }
  throw new Error(`expected the server to listen, got its end (exit code ${child.exitCode})`);
}

let sent = 0;

/** One request whose passages no cache knows. */
async function rerank(url: string, passages: number, deadlineMs: number): Promise<number> {
  const texts = Array.from({ length: passages }, (_, i) => `${PASSAGE.repeat(2)}${++sent} ${i}`);
  const answer = await fetch(`${url}/rerank`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-winnow-deadline-ms': String(deadlineMs) },
    body: JSON.stringify({ query: 'how long does a flea live', texts }),
  });
  await answer.arrayBuffer();
  return answer.status;
}

async function send(url: string, load: Load, answers: Map<number, number>, signal: AbortSignal): Promise<void> {
  const pending = new Set<Promise<void>>();
  while (!signal.aborted) {
    const one = rerank(url, load.passages, load.deadlineMs)
      .catch(() => 0)
      .then((status) => void answers.set(status, (answers.get(status) ?? 0) + 1))
      .finally(() => pending.delete(one));
    pending.add(one);
    await sleep(1000 / load.perSecond, undefined, { signal }).catch(() => {});
  }
  await Promise.all(pending);
}

async function waitUntilReady(url: string): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    const { ok } = await fetch(`${url}/health/ready`).catch(() => ({ ok: false }));
    if (ok) return;
    await sleep(100);
  }
  throw new Error(`${url}/health/ready: expected 200 within a minute, got none`);
}

/** Starts a server with one inference host on the shipped models, and waits until it is ready. */
export async function startWinnow(): Promise<WinnowUnderLoad> {
  const child = spawn(process.execPath, [join(ROOT, 'bin/winnow.mjs'), 'serve', ...FLAGS], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const url = await urlOf(child);
  // Nothing else reads the log, and a full pipe would stop the server.
  child.stdout?.resume();
  await waitUntilReady(url);
  return {
    url,
    async metric(name) {
      const text = await (await fetch(`${url}/metrics`)).text();
      const lines = text.split('\n').filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
      if (lines.length === 0) throw new Error(`${url}/metrics: expected ${name}, got no such metric`);
      return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
    },
    load(load, signal) {
      const answers = new Map<number, number>();
      return { answers, ended: send(url, load, answers, signal) };
    },
    async close() {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    },
  };
}
