import { WinnowError } from '../../errors.ts';
import { Tensor } from '../../onnx/engine.ts';
import type { Model } from '../../onnx/graph.ts';
import { adoptFirstPosition } from '../../registry/adoption.ts';
import type { EncodedRow } from '../../tokenization/tokenization-types.ts';
import type { Batch } from '../data/batches.ts';
import { NAMES } from './names.ts';

/** Inputs of a session, by name. */
export type SessionFeeds = Record<string, Tensor>;

/** Writes a row's part of an encoder's input; `words` are halves of int64. */
const INPUT_WRITERS: Readonly<Record<string, (row: EncodedRow, words: Int32Array, start: number) => void>> = {
  // A small int64 is its low word; the high words are 0 already.
  input_ids(row, words, start) {
    for (let i = 0; i < row.ids.length; i++) words[2 * (start + i)] = row.ids[i]!;
  },
  attention_mask(row, words, start) {
    for (let i = 0; i < row.ids.length; i++) words[2 * (start + i)] = 1;
  },
  token_type_ids(row, words, start) {
    for (let i = row.secondSegment; i < row.ids.length; i++) words[2 * (start + i)] = 1;
  },
  position_ids(row, words, start) {
    for (let i = 0; i < row.ids.length; i++) words[2 * (start + i)] = i;
  },
};

/**
 * Checks that the position ids which training feeds, from 0 on, are those of the model.
 * @throws WinnowError `invalid_input` for a graph of RoBERTa's family that expects positions as an input.
 */
export function checkPositions(model: Model, config: Readonly<Record<string, unknown>>, where: string): void {
  if (!model.graph.inputs.some(({ name }) => name === 'position_ids') || adoptFirstPosition(config) === 0) return;
  throw new WinnowError('invalid_input', {
    where,
    expected: `a graph that computes the positions of ${String(config.model_type)} itself; export it without the input position_ids`,
    got: 'the input position_ids',
  });
}

/** Sizes a batch is padded to. */
export interface BatchSize {
  readonly rows: number;
  readonly length: number;
  readonly passages: number;
}

const longest = (rows: readonly EncodedRow[]): number => rows.reduce((most, row) => Math.max(most, row.ids.length), 1);

/** Returns the size of a batch without further padding. */
export const sizeOfBatch = ({ rows, passages }: Batch): BatchSize => ({
  rows: rows.length,
  length: longest(rows),
  passages,
});

/** Returns the smallest size that all batches fit into. */
export const commonSize = (batches: readonly Batch[]): BatchSize =>
  batches.map(sizeOfBatch).reduce((a, b) => ({
    rows: Math.max(a.rows, b.rows),
    length: Math.max(a.length, b.length),
    passages: Math.max(a.passages, b.passages),
  }));

/** A row of padding: its one token is attended to, since the softmax over no token is NaN. */
const emptyRow = (padId: number): EncodedRow => ({ ids: Int32Array.of(padId), secondSegment: 1, truncated: false });

/**
 * Makes the encoder's inputs among `inputs`, int64 tensors [rows, length]; other names are ignored.
 * @param size to pad to; the longest row by default.
 */
export function rowFeeds(
  given: readonly EncodedRow[],
  inputs: readonly string[],
  padId: number,
  size: Pick<BatchSize, 'rows' | 'length'> = { rows: given.length, length: longest(given) },
): SessionFeeds {
  const rows = Array.from({ length: size.rows }, (_, r) => given[r] ?? emptyRow(padId));
  const feeds: SessionFeeds = {};
  for (const input of inputs) {
    const write = INPUT_WRITERS[input];
    if (!write) continue;
    const data = new BigInt64Array(rows.length * size.length);
    if (input === 'input_ids' && padId !== 0) data.fill(BigInt(padId));
    const words = new Int32Array(data.buffer);
    rows.forEach((row, r) => {
      write(row, words, r * size.length);
    });
    feeds[input] = new Tensor('int64', data, [rows.length, size.length]);
  }
  return feeds;
}

/** Makes the 0/1 matrix [places, rows] that moves logits to their places in the lists. */
function placement({ places, queries, passages }: Batch, size: BatchSize): Tensor {
  const matrix = new Float32Array(queries * size.passages * size.rows);
  places.forEach((place, row) => {
    const padded = Math.floor(place / passages) * size.passages + (place % passages);
    matrix[padded * size.rows + row] = 1;
  });
  return new Tensor('float32', matrix, [queries * size.passages, size.rows]);
}

/** Pads [queries, from] to [queries, to] with zeros. */
function widen(lists: Float32Array, from: number, to: number): Float32Array {
  if (from === to) return lists;
  const wide = new Float32Array((lists.length / from) * to);
  for (let q = 0; q * from < lists.length; q++) wide.set(lists.subarray(q * from, (q + 1) * from), q * to);
  return wide;
}

/** What an objective reads of a batch, but for scores. */
export type ListArrays = Pick<Batch, 'queries' | 'passages' | 'relevance' | 'teacher' | 'valid' | 'weight'>;

/** Makes the objective's inputs: relevance, teacher scores, validity and weight of every place. @param passages to pad lists to. */
export function listFeeds(batch: ListArrays, passages = batch.passages): SessionFeeds {
  const of = (lists: Float32Array) =>
    new Tensor('float32', widen(lists, batch.passages, passages), [batch.queries, passages]);
  return {
    [NAMES.relevance]: of(batch.relevance),
    [NAMES.teacher]: of(batch.teacher),
    [NAMES.valid]: of(batch.valid),
    [NAMES.weight]: of(batch.weight ?? batch.valid),
  };
}

/** Makes the inputs of a training graph that come from a batch. */
export function batchFeeds(
  batch: Batch,
  inputs: readonly string[],
  padId: number,
  size: BatchSize = sizeOfBatch(batch),
): SessionFeeds {
  return {
    ...rowFeeds(batch.rows, inputs, padId, size),
    ...listFeeds(batch, size.passages),
    [NAMES.placement]: placement(batch, size),
  };
}

/** Stacks tensors of one shape along a new first axis. */
export function stackTensors(tensors: readonly Tensor[]): Tensor {
  const { type, dims, data } = tensors[0]!;
  const Kind = data.constructor as new (length: number) => Float32Array;
  const all = new Kind(tensors.length * tensors[0]!.size);
  for (const [i, t] of tensors.entries()) all.set(t.data as Float32Array, i * t.size);
  return new Tensor(type as 'float32', all, [tensors.length, ...dims]);
}
