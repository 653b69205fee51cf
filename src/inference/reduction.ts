import type { Reduction } from './inference-types.ts';

/** Converts a tensor's data to float32. The engine returns float16 data as a Uint16Array or a Float16Array. */
export function toFloat32(type: string, data: unknown): Float32Array {
  if (data instanceof Float32Array) return data;
  if (type === 'float16' && data instanceof Uint16Array)
    return Float32Array.from(new Float16Array(data.buffer as ArrayBuffer, data.byteOffset, data.length));
  if (data instanceof Float16Array || data instanceof Float64Array) return Float32Array.from(data);
  throw new Error(`expected logits of float32, float16 or float64, got ${type}`);
}

function logSumExpWithout(values: Float32Array, from: number, to: number, left: number): number {
  let peak = -Infinity;
  for (let i = from; i < to; i++) if (i !== left && values[i]! > peak) peak = values[i]!;
  if (peak === -Infinity) return peak;
  let sum = 0;
  for (let i = from; i < to; i++) if (i !== left) sum += Math.exp(values[i]! - peak);
  return peak + Math.log(sum);
}

/**
 * Returns one score for each row of logits `[N]`, `[N, 1]` or `[N, k]`, or all k values of each.
 * `class`: z_c − log Σ_{i≠c} exp z_i, whose sigmoid is softmax(z)_c.
 * @throws Error when the shape does not fit the rows or the reduction.
 */
export function reduceLogits(
  logits: Float32Array,
  dims: readonly number[],
  rows: number,
  reduction: Reduction,
): Float32Array {
  const [count, width = 1] = dims;
  const shape = `[${dims.join(', ')}]`;
  if (count !== rows || dims.length > 2 || width === 0) throw new Error(`expected logits [${rows}, k], got ${shape}`);
  if (reduction.kind === 'vector' || reduction.kind === 'kept') return logits.slice();
  if (reduction.kind === 'single') {
    if (width !== 1) throw new Error(`expected logits [${rows}, 1], got ${shape}: name the class to score`);
    return logits.slice();
  }
  const { index } = reduction;
  if (width < 2 || index < 0 || index >= width)
    throw new Error(`expected logits [${rows}, k] with k of 2 or more and above class ${index}, got ${shape}`);
  return Float32Array.from({ length: rows }, (_, r) => {
    const from = r * width;
    return logits[from + index]! - logSumExpWithout(logits, from, from + width, from + index);
  });
}

/** Returns the index of the first NaN, or -1. */
export function firstNaN(scores: Float32Array): number {
  return scores.findIndex(Number.isNaN);
}
