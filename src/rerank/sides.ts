import { WinnowError } from '../errors.ts';
import type { SideEncoder } from '../registry/registry-types.ts';
import { poolWindows } from '../tokenization/pooling.ts';
import { queryOptions } from '../tokenization/query-options.ts';
import type { EncodedRequest } from '../tokenization/tokenization-types.ts';
import { noteEncoded, readPassages, withKeptRows } from './kept-passages.ts';
import { checkLengths, tokenizing } from './run-rows.ts';
import type { Fresh, MissingTask, ScoringDeps } from './scoring-types.ts';

/** Query and passages as token ids. */
export interface Sides {
  readonly query: EncodedRequest;
  readonly passages: EncodedRequest;
}

/** Runs a model that reads passages apart from the query, for one task, and adds up what that took. */
export interface SideRunner {
  /** Reads passage rows, by place among the task's. Returns what is kept of each. Called once at least, even for no rows. */
  read(places: readonly number[]): Promise<readonly Uint8Array[]>;
  /** Returns the score of every passage row from what is kept of it. */
  score(values: readonly Uint8Array[]): Promise<Float32Array>;
  /** Tokens that were read: the query's, and those of passages that were not kept. */
  readonly tokens: number;
  readonly queueMs: number;
  readonly inferMs: number;
  /** Milliseconds in the engine for passages that were not kept. */
  readonly encodeMs: number;
}

/** Tokenizes query and passages by themselves, each behind its prefix. @throws WinnowError as `tokenizing`. */
function encodeSides(
  deps: ScoringDeps,
  task: MissingTask,
  encoder: SideEncoder,
): Promise<{ readonly encoded: Sides; readonly tokenizeMs: number }> {
  const { request, missing, scope } = task;
  const texts = missing.map((place) => request.passages[place]!);
  return tokenizing(deps, task, async (tokenizer, read) => {
    const [query, passages] = await scope.guard(
      Promise.all([
        tokenizer.encodeTexts([request.query], { ...queryOptions(read), prefix: encoder.queryPrefix }, scope.signal),
        tokenizer.encodeTexts(texts, { ...read, prefix: encoder.passagePrefix }, scope.signal),
      ]),
    );
    return { query, passages };
  });
}

/** @throws WinnowError `passage_too_long` for a query or passage that the model's length cut. */
function checkSides({ query, passages }: Sides, task: MissingTask): void {
  const { options, version } = task;
  if (query.overLength[0] && options.maxLength >= version.maxLength)
    throw new WinnowError('passage_too_long', { limit: version.maxLength, got: query.fullLengths[0]!, field: 'query' });
  checkLengths(passages, task);
}

/**
 * Scores the passages at `missing` by a model that reads them apart from the query. What is kept of passages comes from the passage cache where it is
 * there; the others are read first. Scores are made of the same bytes on hits and misses.
 * @throws WinnowError as `runRows`; `passage_too_long`, also for the query.
 */
export async function scoreSides(
  deps: ScoringDeps,
  task: MissingTask,
  encoder: SideEncoder,
  open: (sides: Sides) => SideRunner,
): Promise<Fresh> {
  const { request, missing, options } = task;
  const { encoded: sides, tokenizeMs } = await encodeSides(deps, task, encoder);
  if (!request.truncate) checkSides(sides, task);
  const { query, passages } = sides;
  const runner = open(sides);
  // The server's check of itself has to run the model.
  const sharing = request.isCheck ? undefined : deps.passages;
  const { result: scores, missed } = await withKeptRows(
    sharing,
    task,
    passages.rows,
    (places) => runner.read(places),
    (values) => runner.score(values),
  );
  const { tokens, queueMs, inferMs, encodeMs } = runner;
  noteEncoded(sharing, task, encodeMs);
  const { longPassages } = options;
  const cut = query.fullLengths[0]! - query.rows[0]!.ids.length;
  return {
    places: missing,
    scores:
      longPassages === 'truncate' ? scores : poolWindows(scores, passages.passageOf, missing.length, longPassages),
    encoded: { ...passages, queryCut: new Int32Array(missing.length).fill(cut) },
    at: (_, i) => i,
    tokens,
    tokenizeMs,
    queueMs,
    inferMs,
    ...(sharing && { read: readPassages(passages, missed, missing.length) }),
  };
}
