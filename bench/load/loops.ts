import { setTimeout as delay } from 'node:timers/promises';
import { createRandom } from '../../src/util/random.ts';
import type { Answer, LoadClient } from './client.ts';
import type { LoadRequest } from './requests.ts';

/** Outcome of one request. */
export interface Sample {
  readonly status: number;
  readonly error?: string;
  /** From the planned arrival to the end of the answer, in milliseconds. */
  readonly ms: number;
  readonly passages: number;
}

export interface Run {
  readonly samples: readonly Sample[];
  /** Time in which requests arrived, in seconds. */
  readonly arrivalSeconds: number;
  /** Time until the last answer, in seconds. */
  readonly seconds: number;
}

export interface Deadline {
  /** Sent to the server with each request, in milliseconds. */
  readonly deadlineMs?: number;
}

const sample = ({ status, error }: Answer, from: number, passages: number): Sample => ({
  status,
  ...(error === undefined ? {} : { error }),
  ms: performance.now() - from,
  passages,
});

const headersOf = ({ deadlineMs }: Deadline) =>
  deadlineMs === undefined ? {} : { 'x-winnow-deadline-ms': String(Math.round(deadlineMs)) };

/** Runs `concurrency` clients, each sending its next request as soon as it has an answer, until `until` returns true. */
export async function closedLoop(
  client: LoadClient,
  requests: Iterator<LoadRequest, unknown>,
  options: Deadline & { readonly concurrency: number; readonly until: () => boolean },
): Promise<Run> {
  const samples: Sample[] = [];
  const begin = performance.now();
  const worker = async () => {
    while (!options.until()) {
      const next = requests.next();
      if (next.done) return;
      const request = next.value as LoadRequest;
      const from = performance.now();
      samples.push(sample(await client.rerank(request, headersOf(options)), from, request.passages.length));
    }
  };
  await Promise.all(Array.from({ length: options.concurrency }, worker));
  const seconds = (performance.now() - begin) / 1000;
  return { samples, seconds, arrivalSeconds: seconds };
}

/**
 * Sends requests at random times (Poisson arrivals) at `rate` a second for `seconds`. Latency counts from the planned arrival, so a stalled
 * server does not hide waiting time.
 */
export async function openLoop(
  client: LoadClient,
  requests: Iterator<LoadRequest, unknown>,
  options: Deadline & { readonly rate: number; readonly seconds: number; readonly seed: number },
): Promise<Run> {
  const random = createRandom(options.seed);
  const samples: Sample[] = [];
  const running: Promise<void>[] = [];
  const begin = performance.now();
  let planned = begin;
  for (;;) {
    planned += (-Math.log(1 - random.next()) / options.rate) * 1000;
    if (planned > begin + options.seconds * 1000) break;
    const wait = planned - performance.now();
    if (wait > 0) await delay(wait);
    const request = requests.next().value as LoadRequest;
    const from = planned;
    running.push(
      client
        .rerank(request, headersOf(options))
        .then((answer) => void samples.push(sample(answer, from, request.passages.length))),
    );
  }
  await Promise.all(running);
  return { samples, arrivalSeconds: options.seconds, seconds: (performance.now() - begin) / 1000 };
}
