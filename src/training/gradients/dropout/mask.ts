import { type Tensor, tensorOf } from '../../../onnx/tensor.ts';
import { createRandom, deriveSeed } from '../../../random.ts';
import type { MaskPart } from './insert.ts';

/**
 * The mask of one step, decided by seed and step alone: a resumed run drops what the uninterrupted one would have dropped.
 *
 * Gaps between dropped values are geometric: with probability p each, the number kept before the next one dropped is ⌊ln u / ln(1 − p)⌋. So
 * a mask costs one draw a *dropped* value and a fill, a few milliseconds per million values.
 */
export function fillDropoutMask(
  parts: readonly MaskPart[],
  rows: number,
  length: number,
  seed: number,
  step: number,
): Tensor {
  const counts = parts.map((p) => p.count(rows, length));
  const mask = new Uint8Array(counts.reduce((a, b) => a + b, 0)).fill(1);
  let start = 0;
  for (const [i, part] of parts.entries()) {
    const end = start + counts[i]!;
    drop(mask, start, end, part.rate, deriveSeed(seed, 'dropout', step, i));
    start = end;
  }
  return tensorOf('uint8', [mask.length], mask);
}

function drop(mask: Uint8Array, start: number, end: number, rate: number, seed: number): void {
  if (rate >= 1) {
    mask.fill(0, start, end);
    return;
  }
  const random = createRandom(seed);
  const scale = 1 / Math.log1p(-rate);
  // 1 − next() is in (0, 1], so that the logarithm is finite.
  const gap = (): number => Math.floor(Math.log(1 - random.next()) * scale);
  for (let at = start + gap(); at < end; at += 1 + gap()) mask[at] = 0;
}

/** A size a mask is made for. */
export interface MaskSize {
  readonly rows: number;
  readonly length: number;
}

/** The mask of a batch for the batch padded to a larger size: the same values are dropped, nothing of the padding is. */
export function widenDropoutMask(parts: readonly MaskPart[], mask: Tensor, from: MaskSize, to: MaskSize): Tensor {
  if (from.rows === to.rows && from.length === to.length) return mask;
  const total = parts.reduce((sum, p) => sum + p.count(to.rows, to.length), 0);
  const wide = new Uint8Array(total).fill(1);
  let [read, written] = [0, 0];
  for (const part of parts) {
    const [narrow, broad] = [part.dims(from.rows, from.length), part.dims(to.rows, to.length)];
    copyBlock(mask.bytes.subarray(read), narrow, wide.subarray(written), broad);
    read += part.count(from.rows, from.length);
    written += part.count(to.rows, to.length);
  }
  return tensorOf('uint8', [total], wide);
}

function copyBlock(source: Uint8Array, from: readonly number[], target: Uint8Array, to: readonly number[]): void {
  const [size = 1, ...inner] = from;
  const [, ...outer] = to;
  if (inner.length === 0) {
    target.set(source.subarray(0, size));
    return;
  }
  const step = inner.reduce((a, b) => a * b, 1);
  const wide = outer.reduce((a, b) => a * b, 1);
  for (let i = 0; i < size; i++) copyBlock(source.subarray(i * step), inner, target.subarray(i * wide), outer);
}
