import { WinnowError } from '../errors.ts';
import type { BatchScores, InferenceRow } from './inference-types.ts';
import { firstNaN } from './reduction.ts';

type RunBatch = (rows: readonly InferenceRow[]) => Promise<BatchScores>;

const mayBeHalved = (error: unknown): error is WinnowError =>
  error instanceof WinnowError && error.code === 'inference_failed';

function concatenate(a: BatchScores, b: BatchScores): BatchScores {
  const scores = new Float32Array(a.scores.length + b.scores.length);
  scores.set(a.scores);
  scores.set(b.scores, a.scores.length);
  const pieces = a.pieces && b.pieces && [...a.pieces, ...b.pieces];
  return { scores, ...(pieces && { pieces }), inferMs: a.inferMs + b.inferMs, host: b.host };
}

/**
 * Runs a batch. If the engine fails on it (out of memory, an id beyond the embedding), runs its halves one after another, down to one row.
 * Stops at the first row that fails alone, so that a model that always fails costs log₂ rows runs, not one for each row.
 * @param onSplit Called for every batch that is halved.
 * @throws WinnowError `inference_failed` with `row`, the index in the batch; any other error of `runBatch` unchanged.
 */
export async function scoreInHalves(
  rows: readonly InferenceRow[],
  runBatch: RunBatch,
  onSplit: () => void = () => {},
  offset = 0,
): Promise<BatchScores> {
  try {
    return await runBatch(rows);
  } catch (error) {
    if (!mayBeHalved(error)) throw error;
    if (rows.length === 1) {
      const reason = `row ${offset} fails alone: ${error.params.reason}`;
      throw new WinnowError('inference_failed', { reason, row: offset }, { cause: error });
    }
    onSplit();
  }
  const middle = rows.length >> 1;
  const left = await scoreInHalves(rows.slice(0, middle), runBatch, onSplit, offset);
  return concatenate(left, await scoreInHalves(rows.slice(middle), runBatch, onSplit, offset + middle));
}

function checkLengths(rows: readonly InferenceRow[], maxLength: number): void {
  const fits = (ids: Int32Array): boolean => ids.length > 0 && ids.length <= maxLength;
  const row = rows.findIndex(({ ids, kept }) => !fits(ids) || (kept && !fits(kept.query)));
  if (row < 0) return;
  const { ids, kept } = rows[row]!;
  const got = fits(ids) ? kept!.query.length : ids.length;
  const reason = `expected 1 to ${maxLength} tokens in row ${row}, got ${got}`;
  throw new WinnowError('inference_failed', { reason, row });
}

/**
 * Scores a batch for a pool: rejects empty and too long rows, halves a batch that fails, rejects NaN scores.
 * @throws WinnowError `inference_failed`, `not_a_number`, both with `row`; any other error of `runBatch` unchanged.
 */
export async function scoreBatch(
  rows: readonly InferenceRow[],
  maxLength: number,
  runBatch: RunBatch,
  onSplit?: () => void,
): Promise<BatchScores> {
  if (rows.length === 0) return { scores: new Float32Array(0), inferMs: 0, host: 0 };
  checkLengths(rows, maxLength);
  const result = await scoreInHalves(rows, runBatch, onSplit);
  const bad = firstNaN(result.scores);
  // A row of a bi-encoder has many values.
  if (bad >= 0) throw new WinnowError('not_a_number', { row: Math.floor((bad * rows.length) / result.scores.length) });
  return result;
}
