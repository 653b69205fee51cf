import type { Distribution, LoadAnswer } from '../types.ts';

/*
 * The server reports totals since its start; the page shows the difference of two samples. All functions are pure.
 */

/** Load in the period between two samples. */
export interface Period {
  readonly at: number;
  readonly queueTokens: number;
  readonly queueJobs: number;
  readonly inFlight: number;
  /** Per second, as the next four. */
  readonly requests: number;
  readonly pairs: number;
  readonly errors: number;
  readonly shed: number;
  readonly batches: number;
  /** This and the following: NaN in a period without batches or requests. */
  readonly rowsPerBatch: number;
  readonly padding: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  readonly waitP95Ms: number;
  /** Share of looked up passages that were kept. */
  readonly kept: number;
  readonly keptEntries: number;
  readonly keptBytes: number;
  readonly loopP99Ms: number;
  readonly hostRss: number;
  readonly processRss: number;
}

/** Returns a quantile of a histogram, interpolated within its bucket; NaN if it is empty. In the last bucket it is the lower bound. */
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

/** Increase of a histogram between two samples; the first may lack its buckets. */
function increase(before: Distribution, after: Distribution): readonly number[] {
  return after.counts.map((n, i) => n - (before.counts[i] ?? 0));
}

const share = (part: number, whole: number): number => (whole > 0 ? part / whole : Number.NaN);

/** Returns the load between two samples of the same process; undefined if the process restarted between them. */
export function periodBetween(before: LoadAnswer, after: LoadAnswer): Period | undefined {
  const seconds = (after.at - before.at) / 1000;
  if (seconds <= 0 || after.requests < before.requests || after.batches < before.batches) return undefined;
  const rate = (of: (facts: LoadAnswer) => number) => (of(after) - of(before)) / seconds;
  const latency = increase(before.latency, after.latency);
  const wait = increase(before.queueWait, after.queueWait);
  const ms = (q: number) => 1000 * quantile(after.latency.bounds, latency, q);
  const hits = after.passages.hits - before.passages.hits;
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
    kept: share(hits, hits + after.passages.misses - before.passages.misses),
    keptEntries: after.passages.entries,
    keptBytes: after.passages.bytes,
    loopP99Ms: after.loop.p99,
    hostRss: after.hosts.rss.reduce((sum, n) => sum + n, 0),
    processRss: after.process.rss,
  };
}
