import type { Feeds } from '../../onnx/session.ts';
import { type Tensor, tensorOf } from '../../onnx/tensor.ts';
import { createRandom, deriveSeed } from '../../util/random.ts';
import { keptScale, type MaskPart } from './insert.ts';

/** A size masks are made for. */
interface MaskSize {
  readonly rows: number;
  readonly length: number;
}

/** Makes the masks of a step, by graph input. */
export interface DropoutMasks {
  /** Decided by seed and step alone: a resumed run drops what the uninterrupted one would have dropped. */
  fill(size: MaskSize, seed: number, step: number): Feeds;
}

type Values = Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;

const BYTES = { float32: 4, uint8: 1 } as const;

/** The mask that keeps every value. */
const nothingDropped = ({ form, rate }: MaskPart, buffer: ArrayBuffer, start: number, count: number): Values =>
  form === 'float32'
    ? new Float32Array(buffer, start, count).fill(keptScale(rate))
    : new Uint8Array(buffer, start, count).fill(1);

/**
 * Gaps between dropped values are geometric: with probability p each, the number kept before the next one dropped is ⌊ln u / ln(1 − p)⌋. So
 * a mask costs one draw a *dropped* value and a fill.
 * @param reuse whether a step's masks are written over those of the step before; otherwise each has memory of its own.
 */
export function createDropoutMasks(parts: readonly MaskPart[], reuse = false): DropoutMasks {
  let memory = new ArrayBuffer(0);
  const take = (bytes: number): ArrayBuffer => {
    if (!reuse) return new ArrayBuffer(bytes);
    if (memory.byteLength < bytes) memory = new ArrayBuffer(bytes);
    return memory;
  };
  return {
    fill({ rows, length }, seed, step) {
      const counts = parts.map((p) => p.count(rows, length));
      // Floats lie on multiples of their size.
      const sizes = parts.map(({ form }, i) => Math.ceil((counts[i]! * BYTES[form]) / 4) * 4);
      const buffer = take(sizes.reduce((a, b) => a + b, 0));
      let start = 0;
      const masks: Record<string, Tensor> = {};
      for (const [i, { form, rate, input }] of parts.entries()) {
        const count = counts[i]!;
        const values = nothingDropped(parts[i]!, buffer, start, count);
        drop(values, rate, deriveSeed(seed, 'dropout', step, i));
        masks[input] = tensorOf(form, [count], values);
        start += sizes[i]!;
      }
      return masks;
    },
  };
}

/** The masks of one step, in memory of their own. */
export const fillDropoutMask = (
  parts: readonly MaskPart[],
  rows: number,
  length: number,
  seed: number,
  step: number,
): Feeds => createDropoutMasks(parts).fill({ rows, length }, seed, step);

const CELLS = 1 << 16;
const draws = new Uint32Array(1024);
/** By rate: the gap of all draws that begin with the same 16 bits; −1 where a boundary between two gaps lies among them. */
const tables = new Map<number, Int32Array>();

const gapOf = (u: number, scale: number): number => Math.floor(Math.log(1 - u) * scale);

function tableOf(rate: number, scale: number): Int32Array {
  const made = tables.get(rate);
  if (made) return made;
  const table = Int32Array.from({ length: CELLS }, (_, cell) => {
    const first = gapOf(cell / CELLS, scale);
    // The largest draw of 32 bits in this cell.
    const known = first === gapOf((cell + 1) / CELLS - 2 ** -32, scale) && first < 2 ** 31;
    return known ? first : -1;
  });
  tables.set(rate, table);
  return table;
}

function drop(values: Values, rate: number, seed: number): void {
  if (rate >= 1) values.fill(0);
  if (rate <= 0 || rate >= 1) return;
  const random = createRandom(seed);
  // 1 − u is in (0, 1], so that the logarithm is finite.
  const scale = 1 / Math.log1p(-rate);
  const table = tableOf(rate, scale);
  const end = values.length;
  for (let at = -1; at < end; ) {
    random.fill(draws);
    for (let i = 0; i < draws.length; i++) {
      const known = table[draws[i]! >>> 16]!;
      at += 1 + (known < 0 ? gapOf(draws[i]! / 2 ** 32, scale) : known);
      if (at >= end) return;
      values[at] = 0;
    }
  }
}

/** The masks of a batch for the batch padded to a larger size: the same values are dropped, nothing of the padding is. */
export function widenDropoutMask(parts: readonly MaskPart[], masks: Feeds, from: MaskSize, to: MaskSize): Feeds {
  if (from.rows === to.rows && from.length === to.length) return masks;
  const wide = parts.map((part): [string, Tensor] => {
    const size = BYTES[part.form];
    const count = part.count(to.rows, to.length);
    const values = nothingDropped(part, new ArrayBuffer(count * size), 0, count);
    const [narrow, broad] = [part.dims(from.rows, from.length), part.dims(to.rows, to.length)];
    copyBlock(masks[part.input]!.bytes, narrow, new Uint8Array(values.buffer), broad, size);
    return [part.input, tensorOf(part.form, [count], values)];
  });
  return Object.fromEntries(wide);
}

function copyBlock(
  source: Uint8Array,
  from: readonly number[],
  target: Uint8Array,
  to: readonly number[],
  bytes: number,
): void {
  const [size = 1, ...inner] = from;
  const [, ...outer] = to;
  if (inner.length === 0) {
    target.set(source.subarray(0, size * bytes));
    return;
  }
  const step = inner.reduce((a, b) => a * b, bytes);
  const wide = outer.reduce((a, b) => a * b, bytes);
  for (let i = 0; i < size; i++) copyBlock(source.subarray(i * step), inner, target.subarray(i * wide), outer, bytes);
}
