import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { createSession, type SessionSettings } from '../../inference/providers.ts';
import type { Model } from '../../onnx/graph.ts';
import type { EncodedRow } from '../../tokenization/tokenization-types.ts';
import { rowFeeds, type SessionFeeds } from './feeds.ts';

/** Bounds of a batch: at most `rows` rows and, padding included, at most `tokens` tokens. A single row always forms a batch. */
export interface BatchLimit {
  readonly rows?: number;
  readonly tokens?: number;
}

/**
 * Returns the limit of a batch whose size is only a matter of speed. On a CPU 1,024 tokens are the fastest with one thread and with two, by a tenth
 * against 4,096: their states stay in the caches.
 */
export const scoringBatch = (provider: SessionSettings['provider'] = 'cpu'): BatchLimit => ({
  tokens: provider === 'cpu' ? 1024 : 4096,
});

/** Returns batches of rows of like length, as places in `lengths`, shortest rows first. Rows of equal length keep their order. */
export function lengthBatches(
  lengths: readonly number[],
  { rows = Number.POSITIVE_INFINITY, tokens = Number.POSITIVE_INFINITY }: BatchLimit,
): number[][] {
  const batches: number[][] = [];
  let batch: number[] = [];
  for (const place of [...lengths.keys()].sort((a, b) => lengths[a]! - lengths[b]! || a - b)) {
    const full = batch.length >= rows || (batch.length + 1) * lengths[place]! > tokens;
    if (batch.length > 0 && full) {
      batches.push(batch);
      batch = [];
    }
    batch.push(place);
  }
  return batch.length > 0 ? [...batches, batch] : batches;
}

/**
 * Runs `work` on batches of rows of like length. Returns one result per row, in the order of the rows.
 * @param onRows called after each batch with the number of rows that are done.
 */
export async function mapLengthBatches<T>(
  rows: readonly EncodedRow[],
  work: (batch: readonly EncodedRow[]) => Promise<ArrayLike<T>>,
  limit: BatchLimit,
  onRows?: (done: number) => void,
): Promise<T[]> {
  const results = new Array<T>(rows.length);
  const lengths = rows.map((row) => row.ids.length);
  let done = 0;
  for (const places of lengthBatches(lengths, limit)) {
    const found = await work(places.map((place) => rows[place]!));
    for (const [i, place] of places.entries()) results[place] = found[i]!;
    done += places.length;
    onRows?.(done);
  }
  return results;
}

/** Scores rows by one session of a model. */
export interface RowScorer {
  /**
   * Returns one score per row, in the order of the rows; of a bi-encoder, the numbers of each row's vector.
   * @param limit of a batch; `scoringBatch` if absent.
   * @param onRows called after each batch with the number of rows that are done.
   */
  score(rows: readonly EncodedRow[], limit?: BatchLimit, onRows?: (done: number) => void): Promise<Float32Array>;
  /** Releases the session. */
  close(): Promise<void>;
}

interface RowScorerOptions {
  readonly padId: number;
  /** Output that holds the scores; the first one if absent. */
  readonly output?: string;
  /** Further inputs of the model, asked for at every call of `score`: weights in training. */
  readonly inputs?: () => SessionFeeds;
  /** Makes the inputs of rows, of those that the model has; it reads rows as pairs if absent. */
  readonly feeds?: (rows: readonly EncodedRow[], inputs: readonly string[]) => Promise<SessionFeeds>;
}

/** Wraps an open session, which `close` releases. */
function rowScorer(
  session: InferenceSession,
  { padId, output, inputs, feeds }: RowScorerOptions,
  usual: BatchLimit,
): RowScorer {
  const name = output ?? session.outputNames[0]!;
  return {
    async score(rows, limit = usual, onRows) {
      const fixed = inputs?.();
      const found = await mapLengthBatches<Float32Array>(
        rows,
        async (batch) => {
          const own = feeds ? await feeds(batch, session.inputNames) : rowFeeds(batch, session.inputNames, padId);
          const results = await session.run({ ...own, ...fixed }, [name]);
          const { data, dims } = results[name] as Tensor & { readonly data: Float32Array };
          const width = dims.length > 1 ? dims.at(-1)! : 1;
          return batch.map((_, i) => data.subarray(i * width, (i + 1) * width));
        },
        limit,
        onRows,
      );
      const width = found[0]?.length ?? 0;
      const numbers = new Float32Array(found.length * width);
      for (const [i, own] of found.entries()) numbers.set(own, i * width);
      return numbers;
    },
    close: () => session.release(),
  };
}

/** Opens a session of a model, a file or one in memory, and scores rows by it. @throws WinnowError as `createSession`. */
export async function openRowScorer(
  model: string | Model,
  options: RowScorerOptions,
  settings: SessionSettings = {},
): Promise<RowScorer> {
  return rowScorer(await createSession(model, settings), options, scoringBatch(settings.provider));
}
