import { rankBiasedOverlap } from '../../statistics/rank-correlation.ts';
import type { RankedPassage } from '../ports.ts';

/** The figures by which a shadow arm's ranking is compared with the answered one, and what they mean. */
export const SHADOW_FIGURES = {
  kendall_tau: 'Kendall’s τ: 1 the same order, 0 unrelated, −1 reversed',
  rbo: 'rank-biased overlap (p = 0.9): 1 the same, deep ranks count little',
  overlap_at_10: 'share of the first 10 that both have',
  top_1_flip: '1 where another passage came first',
  score_drift: 'mean relevance score, shadow minus answered',
} as const;

type ShadowFigures = Readonly<Record<keyof typeof SHADOW_FIGURES, number>>;

/** Counts the pairs of `values` that are out of order, by merge sort: comparing all pairs would block the thread for long lists. */
export function inversions(values: Int32Array): number {
  let [from, to] = [values.slice(), new Int32Array(values.length)];
  let count = 0;
  for (let width = 1; width < from.length; width *= 2) {
    for (let low = 0; low < from.length; low += 2 * width) {
      const middle = Math.min(low + width, from.length);
      const high = Math.min(low + 2 * width, from.length);
      for (let i = low, j = middle, k = low; k < high; k++) {
        if (i < middle && (j >= high || from[i]! <= from[j]!)) to[k] = from[i++]!;
        else {
          count += middle - i;
          to[k] = from[j++]!;
        }
      }
    }
    [from, to] = [to, from];
  }
  return count;
}

/** Returns Kendall's τ of two orders of the same items, both without ties; 1 below two items. */
function kendall(a: readonly number[], b: readonly number[]): number {
  const n = a.length;
  if (n < 2) return 1;
  const place = new Map(b.map((item, i) => [item, i]));
  return 1 - (4 * inversions(Int32Array.from(a, (item) => place.get(item)!))) / (n * (n - 1));
}

const TOP = 10;

/**
 * Compares two whole rankings of the same passages.
 * @param answered the ranking that the answer was made from.
 * @param shadow the ranking of the shadow arm.
 */
export function compareRankings(answered: readonly RankedPassage[], shadow: readonly RankedPassage[]): ShadowFigures {
  const [a, b] = [answered, shadow].map((ranking) => ranking.map(({ index }) => index)) as [number[], number[]];
  const depth = Math.min(TOP, a.length);
  const top = new Set(a.slice(0, depth));
  const total = (ranking: readonly RankedPassage[]) =>
    ranking.reduce((sum, { relevanceScore }) => sum + relevanceScore, 0);
  return {
    kendall_tau: kendall(a, b),
    rbo: rankBiasedOverlap(a.map(String), b.map(String), 0.9),
    overlap_at_10: depth === 0 ? 1 : b.slice(0, depth).filter((item) => top.has(item)).length / depth,
    top_1_flip: a[0] === b[0] ? 0 : 1,
    score_drift: a.length === 0 ? 0 : (total(shadow) - total(answered)) / a.length,
  };
}
