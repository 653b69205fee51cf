import { listScale } from './standardize.ts';

/**
 * Returns the scores of a list as two models see it: both are standardized over the list, mixed, and put back on the scale of `own`.
 * @param own scores of a model, a value a passage.
 * @param before scores of the stage before it, in the same order.
 * @param part how much of the mixture is `before`: from 0, which gives `own`, to below 1.
 * @returns float32, as scores are.
 */
export function blendScores(own: ArrayLike<number>, before: ArrayLike<number>, part: number): Float32Array {
  if (part === 0) return Float32Array.from(own);
  const [to, from] = [listScale(own), listScale(before)];
  return Float32Array.from(own, (score, i) => {
    const mixed = ((1 - part) * (score - to.mean)) / to.deviation + (part * (before[i]! - from.mean)) / from.deviation;
    return to.mean + to.deviation * mixed;
  });
}
