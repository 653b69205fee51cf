/**
 * Counts clicks under balanced interleaving from whole rankings, as a reference for credit from stored ranks. An arm's clicks are those among its own first k items, where k is the smallest depth at which both
 * arms' prefixes together hold every item shown down to the lowest click.
 */
export function balancedCredit(
  rankings: readonly [readonly number[], readonly number[]],
  shown: readonly number[],
  clicked: ReadonlySet<number>,
): readonly [number, number] {
  const lowest = shown.reduce((at, item, i) => (clicked.has(item) ? i : at), -1);
  if (lowest < 0) return [0, 0];
  const last = shown[lowest]!;
  const depths = rankings.map((ranking) => ranking.indexOf(last)).filter((i) => i >= 0);
  const k = Math.min(...depths) + 1;
  const count = (ranking: readonly number[]) => ranking.slice(0, k).filter((item) => clicked.has(item)).length;
  return [count(rankings[0]), count(rankings[1])];
}
