import { setTimeout as delay } from 'node:timers/promises';

/** What an ordinary client saw while a server was attacked. */
export interface Testimony {
  readonly requests: number;
  /** Answers other than 200, and requests without an answer within `patienceMs`. */
  readonly failures: readonly string[];
  readonly slowestMs: number;
}

let sent = 0;

/** A request whose texts no cache knows. */
function body(): string {
  const number = sent++;
  const texts = [`Bridge ${number} is inspected every five years.`, `A flea can live up to a year (${number}).`];
  return JSON.stringify({ query: 'how long does a flea live', texts });
}

/** Sends one ordinary request; returns its milliseconds, or what went wrong. */
export async function ordinary(url: string, patienceMs: number): Promise<number | string> {
  const start = performance.now();
  try {
    const answer = await fetch(`${url}/rerank`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: body(),
      signal: AbortSignal.timeout(patienceMs),
    });
    const text = await answer.text();
    if (answer.status !== 200) return `${answer.status} ${text.slice(0, 160)}`;
    const scores = JSON.parse(text) as { index: number }[];
    if (scores[0]?.index !== 1) return `another order than usual: ${text.slice(0, 160)}`;
    return performance.now() - start;
  } catch (error) {
    return `no answer within ${patienceMs} ms (${(error as Error).name})`;
  }
}

/** Sends ordinary requests, one after the other. */
export async function several(url: string, requests: number, patienceMs: number): Promise<Testimony> {
  const failures: string[] = [];
  let slowestMs = 0;
  for (let i = 0; i < requests; i++) {
    const seen = await ordinary(url, patienceMs);
    if (typeof seen === 'string') failures.push(seen);
    else slowestMs = Math.max(slowestMs, seen);
  }
  return { requests, failures, slowestMs };
}

/** Sends an ordinary request every `everyMs` until stopped. */
export function watch(url: string, { everyMs = 250, patienceMs = 5000 } = {}): { stop(): Promise<Testimony> } {
  const failures: string[] = [];
  let requests = 0;
  let slowestMs = 0;
  let watching = true;
  const work = (async () => {
    while (watching) {
      const seen = await ordinary(url, patienceMs);
      requests++;
      if (typeof seen === 'string') failures.push(seen);
      else slowestMs = Math.max(slowestMs, seen);
      await delay(everyMs);
    }
  })();
  return {
    async stop() {
      watching = false;
      await work;
      return { requests, failures, slowestMs };
    },
  };
}
