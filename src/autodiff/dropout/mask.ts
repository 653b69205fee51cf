import type { Feeds } from '../../onnx/runner.ts';
import { type Tensor, tensorOf } from '../../onnx/tensor.ts';
import { createRandom, deriveSeed } from '../../util/random.ts';
import { keptScale, type MaskPart } from './insert.ts';

/** Size of a batch. */
interface MaskSize {
  readonly rows: number;
  readonly length: number;
}

/** Draws the masks of a step. */
export interface DropoutMasks {
  /** Returns the masks by graph input. Seed and step alone decide them, so that a resumed run drops the same values. */
  fill(size: MaskSize, seed: number, step: number): Feeds;
}

type Values = Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;

const BYTES = { float32: 4, uint8: 1 } as const;

/** Makes a mask that keeps every value. */
const nothingDropped = ({ form, rate }: MaskPart, buffer: ArrayBuffer, start: number, count: number): Values =>
  form === 'float32'
    ? new Float32Array(buffer, start, count).fill(keptScale(rate))
    : new Uint8Array(buffer, start, count).fill(1);

/**
 * Creates the masks of a run. Gaps between dropped values are geometric: with u uniform in (0, 1], ⌊ln u / ln(1 − p)⌋ values are kept before
 * the next one is dropped. So a mask costs a fill and one draw per *dropped* value.
 * @param reuse overwrites a step's masks by those of the next; otherwise every step gets new memory.
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

/** Draws the masks of one step into new memory. */
export const fillDropoutMask = (
  parts: readonly MaskPart[],
  rows: number,
  length: number,
  seed: number,
  step: number,
): Feeds => createDropoutMasks(parts).fill({ rows, length }, seed, step);

const CELLS = 1 << 16;
const draws = new Uint32Array(1024);
/** By rate, the gap of all draws with the same upper 16 bits; −1 where they have more than one gap. */
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

/** Widens the masks of a batch to a larger size it is padded to: the same values are dropped, none of the padding. */
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
