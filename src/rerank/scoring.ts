import { WinnowError } from '../errors.ts';
import type { Lease, ModelRegistry, ServedVersion } from '../registry/registry-types.ts';
import type { Scheduler } from '../scheduling/scheduling-types.ts';
import { poolWindows } from '../tokenization/pooling.ts';
import type { EncodedRequest, EncodedRow, PairOptions } from '../tokenization/tokenization-types.ts';
import { type Clock, monotonicClock } from '../util/clock.ts';
import { renumberRow } from '../util/row-errors.ts';
import { type CutOptions, DEFAULT_SETTINGS, type PairSettings, pairOptions } from './pair-settings.ts';
import { checkScores } from './ranking.ts';
import type { RequestScope } from './request-scope.ts';
import type { RerankRequest } from './rerank-types.ts';
import type { CachedPairs, ScoreCache } from './score-cache.ts';
import { TokenizerShelf, type TokenizerSource } from './tokenizer-shelf.ts';

/** The parts of the service that scoring uses, as a caller gives them. */
export interface ScoringOptions {
  readonly registry: Pick<ModelRegistry, 'acquire'>;
  /** The pool of tokenizer threads, or a loader in this thread. */
  readonly tokenizers: TokenizerSource;
  readonly scheduler: Scheduler<EncodedRow>;
  /** The scheduler's clock. */
  readonly clock?: Clock;
  /** How pairs are cut where a request does not say: the section `tokenization` of the configuration. */
  readonly settings?: PairSettings;
  readonly scoreCache?: ScoreCache;
}

/** The same with defaults filled in. */
export interface ScoringDeps {
  readonly registry: Pick<ModelRegistry, 'acquire'>;
  readonly tokenizers: TokenizerShelf;
  readonly scheduler: Scheduler<EncodedRow>;
  readonly clock: Clock;
  readonly settings: PairSettings;
  readonly scoreCache: ScoreCache | undefined;
}

/** Fills in defaults and opens a shelf of tokenizers. */
export function scoringDeps({ registry, tokenizers, scheduler, ...optional }: ScoringOptions): ScoringDeps {
  return {
    registry,
    tokenizers: new TokenizerShelf(tokenizers),
    scheduler,
    clock: optional.clock ?? monotonicClock,
    settings: optional.settings ?? DEFAULT_SETTINGS,
    scoreCache: optional.scoreCache,
  };
}

/** The fields of a request that decide its scores and how they are computed. */
type ScoringRequest = CutOptions &
  Pick<RerankRequest, 'query' | 'passages' | 'lane' | 'priority' | 'subject' | 'signal'>;

/** Encodings of one request's texts that several models may share, by tokenizer and options. */
export type SharedEncodings = Map<string, Promise<EncodedRequest>>;

/** One request to be scored by one version. */
interface ScoringTask {
  readonly version: ServedVersion;
  readonly request: ScoringRequest;
  readonly scope: RequestScope;
  readonly shared?: SharedEncodings | undefined;
}

/** The scores of all passages of a request by one model. */
export interface Scored {
  readonly version: ServedVersion;
  /** fp32 logit of each passage. */
  readonly scores: Float32Array;
  readonly truncated: readonly boolean[];
  /** For each passage, the tokens of the query that its pair left out. */
  readonly queryCut: Int32Array;
  /** Tokens of the pairs that were scored now; those of cached ones are not counted. */
  readonly tokens: number;
  readonly tokenizeMs: number;
  readonly queueMs: number;
  readonly inferMs: number;
}

/**
 * Leases the version that a reference names; the caller releases it.
 * @throws WinnowError of the registry, or the scope's if the request ends first.
 */
export function leaseModel(
  { registry }: Pick<ScoringDeps, 'registry'>,
  reference: string | undefined,
  scope: RequestScope,
): Promise<Lease> {
  return scope.guard(registry.acquire(reference), (late) => late.release());
}

/** Runs `work` with a lease on the version that a reference names. */
export async function withModel<T>(
  deps: Pick<ScoringDeps, 'registry'>,
  reference: string | undefined,
  scope: RequestScope,
  work: (version: ServedVersion) => Promise<T>,
): Promise<T> {
  const lease = await leaseModel(deps, reference, scope);
  try {
    return await work(lease.version);
  } finally {
    lease.release();
  }
}

/** A task whose cached passages are known. */
interface MissingTask extends ScoringTask {
  readonly options: PairOptions;
  /** Passages to score now, by place in the request. */
  readonly missing: readonly number[];
}

async function encode(
  deps: ScoringDeps,
  { version, request, options, missing, scope, shared }: MissingTask,
): Promise<{ readonly encoded: EncodedRequest; readonly tokenizeMs: number }> {
  const { query, passages, subject } = request;
  const isWhole = missing.length === passages.length;
  const texts = isWhole ? passages : missing.map((i) => passages[i]!);
  const startedAt = deps.clock.now();
  // A refusal names the exact length; where passages may be cut, only what is kept is read.
  const share = subject?.key === undefined ? {} : { share: subject.key };
  const read = { ...options, exactLengths: !request.truncate, ...share };
  const encoded = await deps.tokenizers.use(version, (tokenizer) => {
    const run = () => scope.guard(tokenizer.encode(query, texts, read, scope.signal));
    // The passages that a cache leaves differ between models, so only whole requests are shared.
    if (!shared || !isWhole || !tokenizer.pairKey) return run();
    const key = JSON.stringify([tokenizer.pairKey, read, texts.length]);
    const pending = shared.get(key) ?? run();
    shared.set(key, pending);
    return pending;
  });
  return { encoded, tokenizeMs: deps.clock.now() - startedAt };
}

/** @throws WinnowError `passage_too_long` where the model's length cut a pair. What the request's own limits cut is what was asked for. */
function checkLengths(
  { overLength, fullLengths }: EncodedRequest,
  { version, options, missing }: Pick<MissingTask, 'version' | 'options' | 'missing'>,
): void {
  const limit = version.maxLength;
  const i = overLength.indexOf(true);
  if (i < 0 || options.maxLength < limit) return;
  throw new WinnowError('passage_too_long', { limit, got: fullLengths[i]!, field: `passages[${missing[i]}]` });
}

async function schedule(deps: ScoringDeps, { version, request, scope }: MissingTask, encoded: EncodedRequest) {
  const { lane, priority, signal, subject } = request;
  try {
    return await deps.scheduler.submit({
      key: version.key,
      rows: encoded.rows,
      lane,
      deadline: scope.deadline,
      ...(subject?.key === undefined ? {} : { share: subject.key }),
      ...(priority === undefined ? {} : { priority }),
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (error) {
    throw renumberRow(error, (row) => encoded.passageOf[row]);
  }
}

/** Scores the passages at `missing`, in that order. */
async function scoreMissing(deps: ScoringDeps, task: MissingTask): Promise<Scored> {
  const { version, request, options, missing } = task;
  const { encoded, tokenizeMs } = await encode(deps, task);
  if (!request.truncate) checkLengths(encoded, task);
  const { scores: rowScores, queueMs, inferMs } = await schedule(deps, task, encoded);
  const { passageOf, truncated, queryCut, tokens } = encoded;
  const scores =
    options.longPassages === 'truncate'
      ? rowScores
      : poolWindows(rowScores, passageOf, missing.length, options.longPassages);
  checkScores(scores);
  return { version, scores, truncated, queryCut, tokens, tokenizeMs, queueMs, inferMs };
}

interface CacheResult {
  readonly scores: Float32Array;
  readonly truncated: boolean[];
  readonly queryCut: Int32Array;
  readonly missing: readonly number[];
}

/** Reads the cached scores of a request. A pair known to be too long counts as missing, so that `checkLengths` refuses it. */
function readCache(cached: CachedPairs | undefined, { passages, truncate }: ScoringRequest): CacheResult {
  const scores = new Float32Array(passages.length);
  const truncated: boolean[] = new Array(passages.length).fill(false);
  const queryCut = new Int32Array(passages.length);
  const missing: number[] = [];
  passages.forEach((_, i) => {
    const known = cached?.get(i);
    if (!known || ((known.truncated || known.queryCut > 0) && !truncate)) missing.push(i);
    else {
      scores[i] = known.score;
      truncated[i] = known.truncated;
      queryCut[i] = known.queryCut;
    }
  });
  return { scores, truncated, queryCut, missing };
}

/**
 * Returns the passages to score so that no text is scored twice, and for each of `missing` the place of its text among them. A score depends
 * on its pair alone.
 */
function distinct(passages: readonly string[], missing: readonly number[]) {
  const places = new Map<string, number>();
  const once: number[] = [];
  const placeOf = missing.map((i) => {
    const known = places.get(passages[i]!);
    if (known !== undefined) return known;
    places.set(passages[i]!, once.length);
    return once.push(i) - 1;
  });
  return { once, placeOf };
}

/**
 * Scores every passage of a request by one version. Cached scores are taken from the cache; the rest, each text once, is tokenized, scheduled, pooled over
 * windows and put into the cache.
 * @throws WinnowError `passage_too_long`, `not_a_number`, and those of tokenizer and scheduler. Rows in messages are passages.
 */
export async function scorePassages(deps: ScoringDeps, task: ScoringTask): Promise<Scored> {
  const { version, request, scope } = task;
  const options = pairOptions(request, version, deps.settings);
  const { query, passages } = request;
  const cached = deps.scoreCache && (await scope.guard(deps.scoreCache.pairs({ version, options, query, passages })));
  const { scores, truncated, queryCut, missing } = readCache(cached, request);
  const known = { version, scores, truncated, queryCut };
  if (missing.length === 0) return { ...known, tokens: 0, tokenizeMs: 0, queueMs: 0, inferMs: 0 };
  const { once, placeOf } = distinct(passages, missing);
  try {
    const fresh = await scoreMissing(deps, { ...task, options, missing: once });
    missing.forEach((i, nth) => {
      const at = placeOf[nth]!;
      const score = fresh.scores[at]!;
      scores[i] = score;
      truncated[i] = fresh.truncated[at]!;
      queryCut[i] = fresh.queryCut[at]!;
      cached?.set(i, { score, truncated: truncated[i], queryCut: queryCut[i] });
    });
    return { ...fresh, ...known };
  } catch (error) {
    // The scope's reason names the deadline of the request, or says that the client left.
    if (scope.signal.aborted) throw scope.signal.reason;
    throw renumberRow(error, (row) => once[row]);
  }
}
