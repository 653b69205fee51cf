import { nearestRank } from '../../statistics/ranks.ts';
import type { ArmTraffic, ExposureFact } from '../records.ts';

interface Counts {
  requests: number;
  failed: number;
  fallbacks: number;
  byQuery: number;
  firstAt: number;
  lastAt: number;
  /** Milliseconds of the arm's own answers, ascending. */
  sorted: Float64Array;
  /** The same, since the last merge. */
  fresh: number[];
}

const noCounts = (): Counts => ({
  requests: 0,
  failed: 0,
  fallbacks: 0,
  byQuery: 0,
  firstAt: Number.POSITIVE_INFINITY,
  lastAt: Number.NEGATIVE_INFINITY,
  sorted: new Float64Array(),
  fresh: [],
});

/** Merges two ascending lists. */
function merge(a: Float64Array, b: Float64Array): Float64Array {
  const merged = new Float64Array(a.length + b.length);
  let [i, j] = [0, 0];
  for (let k = 0; k < merged.length; k++)
    merged[k] = j === b.length || (i < a.length && a[i]! <= b[j]!) ? a[i++]! : b[j++]!;
  return merged;
}

/** Counts the traffic of each arm exposure by exposure, with the figures of `ExperimentStore.traffic`. */
export class TrafficCount {
  readonly #arms = new Map<string, Counts>();
  readonly #since: number;
  /** Latencies held. */
  size = 0;

  /** @param since milliseconds since 1970; exposures before are left out. */
  constructor(since: number | undefined) {
    this.#since = since ?? Number.NEGATIVE_INFINITY;
  }

  add(exposures: readonly ExposureFact[]): void {
    for (const { arm, at, failed, fallback, byQuery, latencyMs } of exposures) {
      if (at < this.#since) continue;
      const counts = this.#arms.get(arm) ?? noCounts();
      this.#arms.set(arm, counts);
      counts.requests++;
      if (failed) counts.failed++;
      if (fallback) counts.fallbacks++;
      if (byQuery) counts.byQuery++;
      counts.firstAt = Math.min(counts.firstAt, at);
      counts.lastAt = Math.max(counts.lastAt, at);
      if (failed || fallback) continue;
      counts.fresh.push(latencyMs);
      this.size++;
    }
  }

  traffic(): readonly ArmTraffic[] {
    const arms = [...this.#arms].sort(([a], [b]) => (a < b ? -1 : 1));
    return arms.map(([arm, counts]) => {
      const { requests, failed, fallbacks, byQuery, firstAt, lastAt } = counts;
      if (counts.fresh.length > 0) counts.sorted = merge(counts.sorted, Float64Array.from(counts.fresh).sort());
      counts.fresh = [];
      const { sorted } = counts;
      const [p50Ms, p95Ms] = [nearestRank(sorted, 0.5), nearestRank(sorted, 0.95)];
      const latencies = p50Ms === undefined || p95Ms === undefined ? {} : { p50Ms, p95Ms };
      return { arm, requests, failed, fallbacks, byQuery, firstAt, lastAt, ...latencies };
    });
  }
}
