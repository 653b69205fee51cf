import { WinnowError } from '../errors.ts';
import type { BatchScores, InferenceRow } from './types.ts';

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
