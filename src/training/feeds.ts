import { Tensor } from 'onnxruntime-node';
import type { EncodedRow } from '../tokenization/types.ts';
import type { Batch } from './data/batches.ts';
import { NAMES } from './step.ts';

export type EngineFeeds = Record<string, Tensor>;

const TYPE_OF_ROW: Readonly<Record<string, (row: EncodedRow, words: Int32Array, start: number) => void>> = {
  // An int64 of a small number is its low word; the high words are 0 already.
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

/** Inputs an encoder may ask for. */
export const ENCODER_INPUTS: readonly string[] = Object.keys(TYPE_OF_ROW);

/** Rows padded to the longest, one int64 tensor [rows, length] an input asked for. */
export function rowFeeds(rows: readonly EncodedRow[], inputs: readonly string[], padId: number): EngineFeeds {
  const length = rows.reduce((most, row) => Math.max(most, row.ids.length), 1);
  const feeds: EngineFeeds = {};
  for (const input of inputs) {
    const fill = TYPE_OF_ROW[input];
    if (!fill) continue;
    const data = new BigInt64Array(rows.length * length);
    if (input === 'input_ids' && padId !== 0) data.fill(BigInt(padId));
    const words = new Int32Array(data.buffer);
    rows.forEach((row, r) => {
      fill(row, words, r * length);
    });
    feeds[input] = new Tensor('int64', data, [rows.length, length]);
  }
  return feeds;
}

/** The 0/1 matrix [places, rows] that puts logits at their places. */
function placement({ rows, places, queries, passages }: Batch): Tensor {
  const matrix = new Float32Array(queries * passages * rows.length);
  places.forEach((place, row) => {
    matrix[place * rows.length + row] = 1;
  });
  return new Tensor('float32', matrix, [queries * passages, rows.length]);
}

export function listFeeds(batch: Batch): EngineFeeds {
  const dims = [batch.queries, batch.passages];
  return {
    [NAMES.relevance]: new Tensor('float32', batch.relevance, dims),
    [NAMES.teacher]: new Tensor('float32', batch.teacher, dims),
    [NAMES.valid]: new Tensor('float32', batch.valid, dims),
  };
}

/** Everything a training graph is fed of a batch. */
export function batchFeeds(batch: Batch, inputs: readonly string[], padId: number): EngineFeeds {
  return { ...rowFeeds(batch.rows, inputs, padId), ...listFeeds(batch), [NAMES.placement]: placement(batch) };
}
