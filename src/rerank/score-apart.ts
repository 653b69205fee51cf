import { WinnowError } from '../errors.ts';
import type { SideEncoder } from '../registry/registry-types.ts';
import { poolWindows } from '../tokenization/pooling.ts';
import type { EncodedRequest, PairOptions } from '../tokenization/tokenization-types.ts';
import { dot } from '../util/vectors.ts';
import { checkLengths, submitRows, tokenizing } from './run-rows.ts';
import type { Fresh, MissingTask, ScoringDeps } from './scoring-types.ts';

/** Query and passages as token ids. */
interface Sides {
  readonly query: EncodedRequest;
  readonly passages: EncodedRequest;
}

/** The query is one row, cut by the limits of queries; windows are for passages. It is read to its end: the answer says what was left out. */
const queryOptions = ({ maxPassageTokens: _, maxQueryTokens, ...options }: PairOptions): PairOptions => ({
  ...options,
  ...(maxQueryTokens === undefined ? {} : { maxPassageTokens: maxQueryTokens }),
  longPassages: 'truncate',
  exactLengths: true,
});

function encodeSides(
  deps: ScoringDeps,
  task: MissingTask,
  encoder: SideEncoder,
): Promise<{ readonly encoded: Sides; readonly tokenizeMs: number }> {
  const { request, missing, scope } = task;
  const texts = missing.map((place) => encoder.passagePrefix + request.passages[place]!);
  return tokenizing(deps, task, async (tokenizer, read) => {
    const [query, passages] = await scope.guard(
      Promise.all([
        tokenizer.encodeTexts([encoder.queryPrefix + request.query], queryOptions(read), scope.signal),
        tokenizer.encodeTexts(texts, read, scope.signal),
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

/** Returns the score of each passage row: the dot product with the query's vector, which comes first, times `scale`, rounded to float32. */
function rowScores(values: Float32Array, rows: number, scale: number): Float32Array {
  const width = values.length / (rows + 1);
  const query = values.subarray(0, width);
  return Float32Array.from(
    { length: rows },
    (_, row) => scale * dot(query, values.subarray((row + 1) * width, (row + 2) * width)),
  );
}

/**
 * Scores the passages at `missing` by a bi-encoder, which reads query and passages apart.
 * @throws WinnowError as `runRows`; `passage_too_long`, also for the query.
 */
export async function scoreApart(deps: ScoringDeps, task: MissingTask, encoder: SideEncoder): Promise<Fresh> {
  const { request, missing, options } = task;
  const { encoded: sides, tokenizeMs } = await encodeSides(deps, task, encoder);
  if (!request.truncate) checkSides(sides, task);
  const { query, passages } = sides;
  const rows = [query.rows[0]!, ...passages.rows];
  const placeOf = (row: number) => (row === 0 ? undefined : missing[passages.passageOf[row - 1]!]);
  const { scores: values, queueMs, inferMs } = await submitRows(deps, task, rows, placeOf);
  const scores = rowScores(values, passages.rows.length, encoder.scale);
  const { longPassages } = options;
  const cut = query.fullLengths[0]! - query.rows[0]!.ids.length;
  return {
    places: missing,
    scores:
      longPassages === 'truncate' ? scores : poolWindows(scores, passages.passageOf, missing.length, longPassages),
    encoded: { ...passages, queryCut: new Int32Array(missing.length).fill(cut) },
    at: (_, i) => i,
    tokens: query.tokens + passages.tokens,
    tokenizeMs,
    queueMs,
    inferMs,
  };
}
