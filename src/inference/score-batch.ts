import { WinnowError } from '../errors.ts';
import type { BatchScores, InferenceRow } from './inference-types.ts';
import { firstNaN } from './reduction.ts';

type RunBatch = (rows: readonly InferenceRow[]) => Promise<BatchScores>;

const splittable = (error: unknown): error is WinnowError =>
  error instanceof WinnowError && error.code === 'inference_failed';

function join(a: BatchScores, b: BatchScores): BatchScores {
  const scores = new Float32Array(a.scores.length + b.scores.length);
  scores.set(a.scores);
  scores.set(b.scores, a.scores.length);
  return { scores, inferMs: a.inferMs + b.inferMs, host: b.host };
}

/**
 * Runs a batch; where the engine fails on it (out of memory, an id beyond the embedding), runs its halves instead, one after the other,
 * down to one row. The first row that fails alone ends it: a fault of the whole model costs log₂ rows runs, not one a row.
 * @param onSplit told of every batch that had to be cut.
 * @throws WinnowError `inference_failed` with `row`, the index in the batch; any other error as it came.
 */
export async function runSplitting(
  rows: readonly InferenceRow[],
  runBatch: RunBatch,
  onSplit: () => void = () => {},
  offset = 0,
): Promise<BatchScores> {
  try {
    return await runBatch(rows);
  } catch (error) {
    if (!splittable(error)) throw error;
    if (rows.length === 1) {
      const reason = `row ${offset} fails alone: ${error.params.reason}`;
      throw new WinnowError('inference_failed', { reason, row: offset }, { cause: error });
    }
    onSplit();
  }
  const middle = rows.length >> 1;
  const left = await runSplitting(rows.slice(0, middle), runBatch, onSplit, offset);
  return join(left, await runSplitting(rows.slice(middle), runBatch, onSplit, offset + middle));
}

function checkLengths(rows: readonly InferenceRow[], maxLength: number): void {
  const row = rows.findIndex(({ ids }) => ids.length === 0 || ids.length > maxLength);
  if (row < 0) return;
  const reason = `expected 1 to ${maxLength} tokens in row ${row}, got ${rows[row]!.ids.length}`;
  throw new WinnowError('inference_failed', { reason, row });
}

/**
 * What every pool does with a batch: refuses rows no model takes, splits where the engine fails, lets no NaN out.
 * @throws WinnowError `inference_failed`, `not_a_number`, both with `row`; any other error of `runBatch` as it came.
 */
export async function scoreBatch(
  rows: readonly InferenceRow[],
  maxLength: number,
  runBatch: RunBatch,
  onSplit?: () => void,
): Promise<BatchScores> {
  if (rows.length === 0) return { scores: new Float32Array(0), inferMs: 0, host: 0 };
  checkLengths(rows, maxLength);
  const result = await runSplitting(rows, runBatch, onSplit);
  const row = firstNaN(result.scores);
  if (row >= 0) throw new WinnowError('not_a_number', { row });
  return result;
}
