/**
 * Returns mean and standard deviation (divided by n) of scores. Equal scores have a deviation of 1, so that they can be divided by it. The mean of equal float32 scores is exact.
 */
export function listScale(scores: ArrayLike<number>): { readonly mean: number; readonly deviation: number } {
  let [sum, squares] = [0, 0];
  for (let i = 0; i < scores.length; i++) sum += scores[i]!;
  const mean = sum / scores.length;
  for (let i = 0; i < scores.length; i++) squares += (scores[i]! - mean) ** 2;
  return { mean, deviation: Math.sqrt(squares / scores.length) || 1 };
}

/** Returns scores less their mean, divided by their deviation; 0 where all are equal. */
export function standardized(scores: readonly number[]): number[] {
  const { mean, deviation } = listScale(scores);
  return scores.map((score) => (score - mean) / deviation);
}
