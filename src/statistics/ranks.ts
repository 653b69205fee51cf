/** Ranks values from 1, the smallest first; equal values share the mean of their ranks. */
export function averageRanks(values: ArrayLike<number>): Float64Array {
  const order = Array.from(values, (_, i) => i).sort((a, b) => values[a]! - values[b]!);
  const ranks = new Float64Array(values.length);
  for (let start = 0, end = 0; start < order.length; start = end) {
    for (end = start + 1; end < order.length && values[order[end]!] === values[order[start]!]; ) end++;
    for (let i = start; i < end; i++) ranks[order[i]!] = (start + 1 + end) / 2;
  }
  return ranks;
}

/** Returns the sizes of the groups of equal values. */
export function tieSizes(values: ArrayLike<number>): number[] {
  const counts = new Map<number, number>();
  for (let i = 0; i < values.length; i++) counts.set(values[i]!, (counts.get(values[i]!) ?? 0) + 1);
  return [...counts.values()];
}

/** Returns Σ (t³ − t) over groups of equal values, the term of every tie correction. */
export function tieTerm(values: ArrayLike<number>): number {
  return tieSizes(values).reduce((sum, t) => sum + t ** 3 - t, 0);
}

/** Returns the value at a share of a sorted list by nearest rank; nothing for an empty list. */
export const nearestRank = (sorted: ArrayLike<number>, share: number): number | undefined =>
  sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
