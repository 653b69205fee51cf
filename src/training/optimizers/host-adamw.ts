import type { AdamWOptions, StepScalars } from './adamw.ts';

/*
 * AdamW over typed arrays, in place: one pass over weights, moments and gradient, where the graph's nodes take some fifteen and keep the
 * new state beside the old. Sums are of doubles, rounded to float32 where they are stored.
 */

export interface WeightArrays {
  readonly weight: Float32Array;
  readonly firstMoment: Float32Array;
  readonly secondMoment: Float32Array;
}

export interface Move extends StepScalars {
  /** On every gradient: clipping, mean over micro-batches, loss scale taken off. */
  readonly factor: number;
  readonly decays: boolean;
}

/** One weight's update from its whole gradient: the formula of `adamw`. */
export function updateInPlace(w: WeightArrays, gradient: Float32Array, move: Move, options: AdamWOptions): void {
  const { weight, firstMoment, secondMoment } = w;
  const { beta1, beta2, epsilon, weightDecay } = options;
  const { factor, stepSize, secondScale } = move;
  const kept = move.decays ? 1 - move.learningRate * weightDecay : 1;
  const [rest1, rest2] = [1 - beta1, 1 - beta2];
  for (let i = 0; i < weight.length; i++) {
    const g = gradient[i]! * factor;
    const m = firstMoment[i]! + (g - firstMoment[i]!) * rest1;
    const v = secondMoment[i]! * beta2 + g * g * rest2;
    firstMoment[i] = m;
    secondMoment[i] = v;
    weight[i] = weight[i]! * kept - (stepSize * m) / (Math.sqrt(v) * secondScale + epsilon);
  }
}

/**
 * A table's update from the gradients of the rows that were read. Dense, as in torch: rows without a gradient decay, and so do their
 * moments, which go on moving them. Rows never read have no moments, so for them only the decay is left to do.
 * @param moved rows that have moments; rows read now are added.
 */
export function updateTableInPlace(
  w: WeightArrays,
  rowGradient: (id: number) => Float32Array | undefined,
  moved: Uint8Array,
  move: Move,
  options: AdamWOptions,
): void {
  const hidden = w.weight.length / moved.length;
  const none = new Float32Array(hidden);
  const kept = move.decays ? 1 - move.learningRate * options.weightDecay : 1;
  for (let id = 0; id < moved.length; id++) {
    const gradient = rowGradient(id);
    const from = id * hidden;
    if (gradient === undefined && moved[id] === 0) {
      if (kept !== 1) for (let i = from; i < from + hidden; i++) w.weight[i]! *= kept;
      continue;
    }
    moved[id] = 1;
    updateInPlace(slicesOf(w, from, from + hidden), gradient ?? none, move, options);
  }
}

/** A stretch of a weight and its moments, without copies. */
export const slicesOf = (w: WeightArrays, from: number, to: number): WeightArrays => ({
  weight: w.weight.subarray(from, to),
  firstMoment: w.firstMoment.subarray(from, to),
  secondMoment: w.secondMoment.subarray(from, to),
});

/** Rows that have moments, one byte a row. */
export function movedRows({ firstMoment, secondMoment }: WeightArrays, rows: number): Uint8Array {
  const hidden = firstMoment.length / rows;
  const moved = new Uint8Array(rows);
  for (let i = 0; i < firstMoment.length; i++)
    if (firstMoment[i] !== 0 || secondMoment[i] !== 0) moved[Math.floor(i / hidden)] = 1;
  return moved;
}
