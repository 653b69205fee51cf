import { WinnowError } from '../errors.ts';
import type { Lease, ModelRegistry, ServedVersion } from '../registry/registry-types.ts';
import { renumberRow } from '../scheduling/row-errors.ts';
import type { Scheduler } from '../scheduling/scheduling-types.ts';
import { poolWindows } from '../tokenization/pooling.ts';
import type { EncodedRequest, EncodedRow, PairOptions } from '../tokenization/tokenization-types.ts';
import type { Clock } from '../util/clock.ts';
import { checkScores } from './ranking.ts';
import type { RequestScope } from './scope.ts';
import type { CachedQuery, ScoreCache } from './score-cache.ts';
import { type PairSettings, pairOptions } from './settings.ts';
import type { TokenizerShelf } from './tokenizer-shelf.ts';
import type { RerankRequest } from './types.ts';

/** What scoring needs of the house. */
export interface ScoringDeps {
  readonly registry: Pick<ModelRegistry, 'acquire'>;
  readonly tokenizers: TokenizerShelf;
  readonly scheduler: Scheduler<EncodedRow>;
  readonly clock: Clock;
  readonly settings: PairSettings;
  readonly scoreCache: ScoreCache | undefined;
}

/** The part of a request that decides its scores and how they are made. */
export type ScoringRequest = Pick<
  RerankRequest,
  | 'query'
  | 'passages'
  | 'truncate'
  | 'truncation'
  | 'side'
  | 'longPassages'
  | 'maxPassageTokens'
  | 'lane'
  | 'priority'
  | 'signal'
>;

/** All passages of a request under one model. */
export interface Scored {
  readonly version: ServedVersion;
  /** fp32 logit a passage. */
  readonly scores: Float32Array;
  readonly truncated: readonly boolean[];
  /** Tokens of the pairs that were scored now; those of cached ones are not counted. */
  readonly tokens: number;
  readonly tokenizeMs: number;
  readonly queueMs: number;
  readonly inferMs: number;
}

/** Tokenizations of one request's texts that several models may share, by tokenizer and options. */
export type SharedEncodings = Map<string, Promise<EncodedRequest>>;

/** Leases what a reference names for as long as `work` takes. */
export async function withModel<T>(
  deps: Pick<ScoringDeps, 'registry'>,
  reference: string | undefined,
  scope: RequestScope,
  work: (version: ServedVersion) => Promise<T>,
): Promise<T> {
  const lease: Lease = await scope.guard(deps.registry.acquire(reference), (late) => late.release());
  try {
    return await work(lease.version);
  } finally {
    lease.release();
  }
}

interface Encoded {
  readonly encoded: EncodedRequest;
  readonly tokenizeMs: number;
}

/** Passages to score now, by place in the request. */
type Missing = readonly number[];

async function encode(
  deps: ScoringDeps,
  version: ServedVersion,
  query: string,
  passages: readonly string[],
  options: PairOptions,
  scope: RequestScope,
  shared: SharedEncodings | undefined,
): Promise<Encoded> {
  const startedAt = deps.clock.now();
  const encoded = await deps.tokenizers.use(version, (tokenizer) => {
    const run = () => scope.guard(tokenizer.encode(query, passages, options, scope.signal));
    if (!shared || !tokenizer.pairKey) return run();
    const key = JSON.stringify([tokenizer.pairKey, options, passages.length]);
    const pending = shared.get(key) ?? run();
    shared.set(key, pending);
    return pending;
  });
  return { encoded, tokenizeMs: deps.clock.now() - startedAt };
}

/** @throws WinnowError `passage_too_long` where a pair had to be cut for the model's sake though the request forbids it. */
function refuseCut(
  { rows, passageOf, truncated, fullLengths }: EncodedRequest,
  options: PairOptions,
  missing: Missing,
) {
  const limit = options.maxLength;
  for (let r = 0; r < rows.length; r++) {
    const i = passageOf[r]!;
    // A passage cut at the request's own `maxPassageTokens` is what was asked for.
    if (!truncated[i] || rows[r]!.ids.length < limit) continue;
    throw new WinnowError('passage_too_long', { limit, got: fullLengths[i]!, field: `passages[${missing[i]}]` });
  }
}

async function schedule(
  deps: ScoringDeps,
  version: ServedVersion,
  request: ScoringRequest,
  encoded: EncodedRequest,
  scope: RequestScope,
) {
  const { lane, priority, signal } = request;
  const { rows } = encoded;
  const job = {
    ...{ key: version.key, rows, lane, deadline: scope.deadline },
    ...(priority === undefined ? {} : { priority }),
    ...(signal === undefined ? {} : { signal }),
  };
  try {
    return await deps.scheduler.submit(job);
  } catch (error) {
    throw renumberRow(error, (row) => encoded.passageOf[row]);
  }
}

/** Scores the passages at `missing`, in that order. */
async function scoreMissing(
  deps: ScoringDeps,
  version: ServedVersion,
  request: ScoringRequest,
  options: PairOptions,
  missing: Missing,
  scope: RequestScope,
  shared: SharedEncodings | undefined,
) {
  const { query, passages, truncate } = request;
  const all = missing.length === passages.length;
  const texts = all ? passages : missing.map((i) => passages[i]!);
  // What is left after a look into the cache differs between models, so it is not shared.
  const { encoded, tokenizeMs } = await encode(deps, version, query, texts, options, scope, all ? shared : undefined);
  if (!truncate) refuseCut(encoded, options, missing);
  const { scores: rowScores, queueMs, inferMs } = await schedule(deps, version, request, encoded, scope);
  const { passageOf, truncated, tokens } = encoded;
  const scores =
    options.longPassages === 'truncate'
      ? rowScores
      : poolWindows(rowScores, passageOf, texts.length, options.longPassages);
  return { scores, truncated, tokens, tokenizeMs, queueMs, inferMs };
}

interface Known {
  readonly scores: Float32Array;
  readonly truncated: boolean[];
  readonly missing: Missing;
}

/** What the cache knows of a request. A pair it knows to be too long counts as missing, so that it is refused in the one place for that. */
function lookUp(cached: CachedQuery | undefined, { passages, truncate }: ScoringRequest): Known {
  const scores = new Float32Array(passages.length);
  const truncated: boolean[] = new Array(passages.length).fill(false);
  const missing: number[] = [];
  passages.forEach((passage, i) => {
    const known = cached?.get(passage);
    if (!known || (known.truncated && !truncate)) missing.push(i);
    else {
      scores[i] = known.score;
      truncated[i] = known.truncated;
    }
  });
  return { scores, truncated, missing };
}

/**
 * Scores every passage of a request under one version: what the cache knows is taken from it, the rest is tokenized, scheduled, pooled
 * over windows and put into the cache.
 * @throws WinnowError `passage_too_long`, `not_a_number`, what tokenizer and scheduler throw. Rows in messages are passages.
 */
export async function scorePassages(
  deps: ScoringDeps,
  version: ServedVersion,
  request: ScoringRequest,
  scope: RequestScope,
  shared?: SharedEncodings,
): Promise<Scored> {
  const options = pairOptions(request, version, deps.settings);
  const cached = deps.scoreCache?.query(version, options, request.query);
  const { scores, truncated, missing } = lookUp(cached, request);
  if (missing.length === 0) return { version, scores, truncated, tokens: 0, tokenizeMs: 0, queueMs: 0, inferMs: 0 };
  try {
    const fresh = await scoreMissing(deps, version, request, options, missing, scope, shared);
    checkScores(fresh.scores);
    missing.forEach((i, at) => {
      const score = fresh.scores[at]!;
      scores[i] = score;
      truncated[i] = fresh.truncated[at]!;
      cached?.set(request.passages[i]!, { score, truncated: truncated[i] });
    });
    const { tokens, tokenizeMs, queueMs, inferMs } = fresh;
    return { version, scores, truncated, tokens, tokenizeMs, queueMs, inferMs };
  } catch (error) {
    // The scope knows the request's own deadline and who ended it.
    if (scope.signal.aborted) throw scope.signal.reason;
    throw renumberRow(error, (row) => missing[row]);
  }
}
