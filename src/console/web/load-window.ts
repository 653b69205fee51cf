import type { Distribution, LoadAnswer } from '../types.ts';

/*
 * The server tells totals since its start; the page shows what happened between two looks. Pure.
 */

/** What one stretch between two looks came to. */
export interface Stretch {
  readonly at: number;
  readonly queueTokens: number;
  readonly queueJobs: number;
  readonly inFlight: number;
  /** A second. */
  readonly requests: number;
  readonly pairs: number;
  readonly errors: number;
  readonly shed: number;
  readonly batches: number;
  /** NaN where there was no batch, or no request. */
  readonly rowsPerBatch: number;
  readonly padding: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  readonly waitP95Ms: number;
  readonly loopP99Ms: number;
  readonly hostRss: number;
  readonly processRss: number;
}

/** A quantile of a histogram, interpolated within its bucket; NaN for an empty one. The last bucket gives its lower bound. */
export function quantile(bounds: readonly number[], counts: readonly number[], q: number): number {
  const total = counts.reduce((sum, n) => sum + n, 0);
  if (total === 0) return Number.NaN;
  let below = 0;
  for (const [i, n] of counts.entries()) {
    const low = i === 0 ? 0 : bounds[i - 1]!;
    if (n > 0 && below + n >= q * total) {
      const high = bounds[i];
      return high === undefined ? low : low + ((high - low) * (q * total - below)) / n;
    }
    below += n;
  }
  return bounds.at(-1) ?? Number.NaN;
}

/** What was added to a histogram between two looks. Its buckets may come into being between them. */
function added(before: Distribution, after: Distribution): readonly number[] {
  return after.counts.map((n, i) => n - (before.counts[i] ?? 0));
}

const share = (part: number, whole: number): number => (whole > 0 ? part / whole : Number.NaN);

/** Differences between two looks at the same process; nothing if it has been started anew between them. */
export function stretch(before: LoadAnswer, after: LoadAnswer): Stretch | undefined {
  const seconds = (after.at - before.at) / 1000;
  if (seconds <= 0 || after.requests < before.requests || after.batches < before.batches) return undefined;
  const rate = (of: (facts: LoadAnswer) => number) => (of(after) - of(before)) / seconds;
  const latency = added(before.latency, after.latency);
  const wait = added(before.queueWait, after.queueWait);
  const ms = (q: number) => 1000 * quantile(after.latency.bounds, latency, q);
  const padding = after.paddingTokens - before.paddingTokens;
  return {
    at: after.at,
    queueTokens: after.queue.tokens,
    queueJobs: after.queue.jobs,
    inFlight: after.inFlight,
    requests: rate((f) => f.requests),
    pairs: rate((f) => f.pairs),
    errors: rate((f) => f.errors),
    shed: rate((f) => f.shedRows),
    batches: rate((f) => f.batches),
    rowsPerBatch: share(after.batchRows - before.batchRows, after.batches - before.batches),
    padding: share(padding, padding + after.tokens - before.tokens),
    p50Ms: ms(0.5),
    p95Ms: ms(0.95),
    p99Ms: ms(0.99),
    waitP95Ms: 1000 * quantile(after.queueWait.bounds, wait, 0.95),
    loopP99Ms: after.loop.p99,
    hostRss: after.hosts.rss.reduce((sum, n) => sum + n, 0),
    processRss: after.process.rss,
  };
}
