import type { Tensor } from 'onnxruntime-common';
import type { InferenceRow } from './inference-types.ts';

/** How the rows of a model are padded. */
interface Padding {
  readonly padId: number;
  /** Position of a row's first token. Default: 0. In RoBERTa's family the position after that of padding. */
  readonly firstPosition?: number | undefined;
}

/** Writes one input of a row; each value is a 32-bit word. */
type Filler = (out: Writer, row: InferenceRow, width: number, padding: Padding) => void;

interface Writer {
  readonly words: Int32Array;
  /** Words of an element: 2 for int64 (the high word stays zero), 1 for int32. */
  readonly stride: number;
  /** Index of the row's first word. */
  at: number;
}

function fill(out: Writer, from: number, to: number, value: number): void {
  const { words, stride, at } = out;
  for (let c = from; c < to; c++) words[at + c * stride] = value;
}

/** The graph inputs that a host can provide. Padding is on the right. */
export const INPUTS: Readonly<Record<string, Filler>> = {
  input_ids(out, { ids }, width, { padId }) {
    const { words, stride, at } = out;
    for (let c = 0; c < ids.length; c++) words[at + c * stride] = ids[c]!;
    fill(out, ids.length, width, padId);
  },
  attention_mask(out, { ids }, width) {
    fill(out, 0, ids.length, 1);
    fill(out, ids.length, width, 0);
  },
  token_type_ids(out, { ids, secondSegment }, width) {
    fill(out, 0, width, 0);
    fill(out, secondSegment, ids.length, 1);
  },
  position_ids(out, { ids }, width, { firstPosition = 0 }) {
    const { words, stride, at } = out;
    for (let c = 0; c < ids.length; c++) words[at + c * stride] = firstPosition + c;
    fill(out, ids.length, width, Math.max(0, firstPosition - 1));
  },
};

type IntegerType = 'int64' | 'int32';

export interface InputSpec {
  readonly name: string;
  readonly type: IntegerType;
}

export interface PaddedInput {
  readonly data: BigInt64Array | Int32Array;
  readonly dims: readonly [rows: number, width: number];
}

type Buffers = Record<IntegerType, Int32Array>;

/**
 * Pads rows into integer tensors `[rows, longest row]`. The buffers are reused: a result is valid until the next call of `pad`. int64
 * elements are written as two 32-bit words; token ids are never negative, so the high words stay zero and no BigInt is created.
 */
export class Padder {
  readonly #buffers = new Map<string, Buffers>();

  pad(rows: readonly InferenceRow[], inputs: readonly InputSpec[], padding: Padding): Record<string, PaddedInput> {
    const width = rows.reduce((longest, row) => Math.max(longest, row.ids.length), 0);
    const padded: Record<string, PaddedInput> = {};
    for (const { name, type } of inputs) {
      const stride = type === 'int64' ? 2 : 1;
      const words = this.#buffer(name, type, rows.length * width * stride);
      const out: Writer = { words, stride, at: 0 };
      for (const row of rows) {
        INPUTS[name]!(out, row, width, padding);
        out.at += width * stride;
      }
      const length = rows.length * width;
      const data = type === 'int64' ? new BigInt64Array(words.buffer, 0, length) : words.subarray(0, length);
      padded[name] = { data, dims: [rows.length, width] };
    }
    return padded;
  }

  /** Returns a buffer of at least `words` words. Buffers grow to powers of two, so that batches of mixed sizes soon share one. */
  #buffer(name: string, type: IntegerType, words: number): Int32Array {
    const own = this.#buffers.get(name) ?? { int64: new Int32Array(0), int32: new Int32Array(0) };
    if (own[type].length < words) own[type] = new Int32Array(2 ** Math.ceil(Math.log2(words)));
    this.#buffers.set(name, own);
    return own[type];
  }
}

/** Returns the tensor type of an input if a host can provide it. */
export function integerType(type: Tensor.Type): IntegerType | undefined {
  return type === 'int64' || type === 'int32' ? type : undefined;
}
