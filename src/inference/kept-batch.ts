import { WinnowError } from '../errors.ts';
import { type InferenceSession, Tensor } from '../onnx/engine.ts';
import type { InferenceRow } from './inference-types.ts';

/*
 * What is kept of a passage: its states, a scale a token where they are int8, and its vector where the model has one, one after another without
 * padding. The layout follows from the graphs: outputs of the one that reads passages, inputs of the one that scores by what was kept.
 */

export const KEPT_OUTPUTS = ['states', 'scales', 'vector'] as const;
/** Inputs of a graph that scores by kept states, beside those of the query. */
export const KEPT_INPUTS: readonly string[] = ['query_of', 'passage_mask', ...KEPT_OUTPUTS];

/** How many bytes of each kind a passage has. */
export interface Layout {
  /** Type of the states. */
  readonly type: 'int8' | 'float16';
  /** Numbers of a token's states. */
  readonly width: number;
  /** Bytes of a token's states. */
  readonly stateBytes: number;
  /** Bytes of a token's scale: 4 or 0. */
  readonly scaleBytes: number;
  /** Bytes of the vector; 0 where there is none. */
  readonly vectorBytes: number;
}

type Metadata = readonly InferenceSession.ValueMetadata[];

const fault = (where: string, expected: string, got: string) =>
  new WinnowError('invalid_graph', { where, expected, got });

/** Reads the layout of kept passages from the inputs or outputs of a graph. @throws WinnowError `invalid_graph`. */
export function layoutOf(values: Metadata, where: string): Layout {
  const find = (name: string) => values.find((value) => value.name === name);
  const states = find('states');
  const width = states?.isTensor && states.shape.length === 3 ? states.shape[2] : undefined;
  const type = states?.isTensor ? states.type : undefined;
  if (typeof width !== 'number' || (type !== 'int8' && type !== 'float16'))
    throw fault(where, 'states [N, T, H] of int8 or float16', type === undefined ? 'none' : `states of ${type}`);
  if (type === 'int8' && !find('scales')) throw fault(where, 'scales [N, T] beside states of int8', 'none');
  return {
    type,
    width,
    stateBytes: type === 'int8' ? width : 2 * width,
    scaleBytes: type === 'int8' ? 4 : 0,
    vectorBytes: find('vector') ? 4 * width : 0,
  };
}

/** Returns the tokens of a kept passage. @throws Error for bytes of another layout. */
function tokensOf({ stateBytes, scaleBytes, vectorBytes }: Layout, bytes: Uint8Array): number {
  const tokens = (bytes.byteLength - vectorBytes) / (stateBytes + scaleBytes);
  if (Number.isSafeInteger(tokens) && tokens > 0) return tokens;
  throw new Error(`expected kept states of ${stateBytes + scaleBytes} bytes a token, got ${bytes.byteLength} bytes`);
}

const bytesOf = (tensor: Tensor): Uint8Array => {
  const { buffer, byteOffset, byteLength } = tensor.data as Int8Array;
  return new Uint8Array(buffer, byteOffset, byteLength);
};

const isFinite32 = (bytes: Uint8Array): boolean =>
  new Float32Array(bytes.slice().buffer).every((x) => Number.isFinite(x));

/**
 * Cuts the outputs of a graph of passages into the bytes that are kept of each row.
 * @throws Error for states that are no numbers: they would stay in a cache.
 */
export function cutKept(
  outputs: Readonly<Record<string, Tensor>>,
  rows: readonly InferenceRow[],
  { stateBytes, scaleBytes, vectorBytes }: Layout,
): readonly Uint8Array[] {
  const states = bytesOf(outputs.states!);
  const padded = outputs.states!.dims[1]!;
  const scales = scaleBytes > 0 ? bytesOf(outputs.scales!) : undefined;
  const vectors = vectorBytes > 0 ? bytesOf(outputs.vector!) : undefined;
  const size = rows.reduce((sum, { ids }) => sum + ids.length * (stateBytes + scaleBytes) + vectorBytes, 0);
  const all = new Uint8Array(size);
  let at = 0;
  const append = (from: Uint8Array, start: number, length: number) => {
    all.set(from.subarray(start, start + length), at);
    at += length;
  };
  return rows.map(({ ids: { length } }, r) => {
    const start = at;
    append(states, r * padded * stateBytes, length * stateBytes);
    const floats = at;
    if (scales) append(scales, r * padded * scaleBytes, length * scaleBytes);
    if (vectors) append(vectors, r * vectorBytes, vectorBytes);
    if (!isFinite32(all.subarray(floats, at)))
      throw new Error('expected states of finite numbers, got NaN or infinity');
    return all.subarray(start, at);
  });
}

/** A buffer that grows and is used again. */
class Room {
  #bytes = new Uint8Array(0);

  of(size: number): Uint8Array<ArrayBuffer> {
    if (this.#bytes.byteLength < size) this.#bytes = new Uint8Array(2 ** Math.ceil(Math.log2(size)));
    return this.#bytes.subarray(0, size);
  }
}

/** Fills the inputs of kept passages. Buffers are used again: what is returned is valid until the next call of `fill`. */
export class KeptBatch {
  readonly #states = new Room();
  readonly #scales = new Room();
  readonly #vectors = new Room();
  readonly #masks = new Room();
  readonly #queries = new Room();

  /** Returns the different queries of rows, and the inputs of their passages, padded with zeros. */
  fill(
    rows: readonly InferenceRow[],
    layout: Layout,
  ): { readonly queries: readonly InferenceRow[]; readonly feeds: Record<string, Tensor> } {
    const { stateBytes, scaleBytes, vectorBytes } = layout;
    const count = rows.length;
    const width = rows.reduce((longest, { kept }) => Math.max(longest, tokensOf(layout, kept!.bytes)), 0);
    const states = this.#states.of(count * width * stateBytes);
    const scales = this.#scales.of(count * width * scaleBytes);
    const vectors = this.#vectors.of(count * vectorBytes);
    const masks = this.#masks.of(count * width * 8).fill(0);
    const numbers = this.#queries.of(count * 8).fill(0);
    const maskWords = new Int32Array(masks.buffer, masks.byteOffset, count * width * 2);
    const queryWords = new Int32Array(numbers.buffer, numbers.byteOffset, count * 2);
    const queries = new Map<Int32Array, number>();
    rows.forEach(({ kept }, r) => {
      const { query, bytes } = kept!;
      const number = queries.get(query) ?? queries.size;
      queries.set(query, number);
      queryWords[2 * r] = number;
      const tokens = tokensOf(layout, bytes);
      const statesEnd = tokens * stateBytes;
      const scalesEnd = statesEnd + tokens * scaleBytes;
      place(states, r * width * stateBytes, width * stateBytes, bytes.subarray(0, statesEnd));
      if (scaleBytes > 0)
        place(scales, r * width * scaleBytes, width * scaleBytes, bytes.subarray(statesEnd, scalesEnd));
      if (vectorBytes > 0) vectors.set(bytes.subarray(scalesEnd), r * vectorBytes);
      for (let t = 0; t < tokens; t++) maskWords[2 * (r * width + t)] = 1;
    });
    const feeds: Record<string, Tensor> = {
      query_of: new Tensor('int64', new BigInt64Array(numbers.buffer, numbers.byteOffset, count), [count]),
      passage_mask: new Tensor('int64', new BigInt64Array(masks.buffer, masks.byteOffset, count * width), [
        count,
        width,
      ]),
      states: statesTensor(states, [count, width, layout.width], layout.type),
    };
    if (scaleBytes > 0) feeds.scales = floatTensor(scales, [count, width]);
    if (vectorBytes > 0) feeds.vector = floatTensor(vectors, [count, layout.width]);
    const queryRows = [...queries.keys()].map((ids) => ({ ids, secondSegment: ids.length }));
    return { queries: queryRows, feeds };
  }
}

/** Writes bytes into a place of `size` bytes and zeros behind them. */
function place(into: Uint8Array, at: number, size: number, bytes: Uint8Array): void {
  into.set(bytes, at);
  into.fill(0, at + bytes.byteLength, at + size);
}

const floatTensor = ({ buffer, byteOffset, byteLength }: Uint8Array<ArrayBuffer>, dims: readonly number[]): Tensor =>
  new Tensor('float32', new Float32Array(buffer, byteOffset, byteLength / 4), dims);

function statesTensor(
  { buffer, byteOffset, byteLength }: Uint8Array<ArrayBuffer>,
  dims: readonly number[],
  type: Layout['type'],
): Tensor {
  if (type === 'int8') return new Tensor('int8', new Int8Array(buffer, byteOffset, byteLength), dims);
  // The binding reads float16 from a Uint16Array, which the class of tensors replaces where there is a Float16Array.
  const bits = new Uint16Array(buffer, byteOffset, byteLength / 2);
  return Object.defineProperty(new Tensor('float16', bits, dims), 'data', { value: bits });
}
