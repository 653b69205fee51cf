import type { AdamWOptions } from './adamw.ts';
import { type Move, updateInPlace, type WeightArrays } from './adamw-kernel.ts';

/*
 * AdamW over typed arrays, in place: one pass over weights, moments and gradient. The graph's nodes take some fifteen passes and hold the new
 * state beside the old.
 */

/**
 * Updates a table from the gradients of the rows that were read. The update is dense, as in PyTorch: rows without a gradient decay, and
 * their moments decay and still move them. Rows that were never read have no moments, so only their weights decay.
 * @param moved marks rows that have moments; rows read now are added.
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

/** Returns views of a range of a weight and its moments. */
export const slicesOf = (w: WeightArrays, from: number, to: number): WeightArrays => ({
  weight: w.weight.subarray(from, to),
  firstMoment: w.firstMoment.subarray(from, to),
  secondMoment: w.secondMoment.subarray(from, to),
});

/** Marks the rows that have moments, one byte per row. */
export function movedRows({ firstMoment, secondMoment }: WeightArrays, rows: number): Uint8Array {
  const hidden = firstMoment.length / rows;
  const moved = new Uint8Array(rows);
  for (let i = 0; i < firstMoment.length; i++)
    if (firstMoment[i] !== 0 || secondMoment[i] !== 0) moved[Math.floor(i / hidden)] = 1;
  return moved;
}
