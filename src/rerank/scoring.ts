import { WinnowError } from '../errors.ts';
import type { Pruning } from '../registry/pruning.ts';
import type { Lease, ModelRegistry, ServedVersion } from '../registry/registry-types.ts';
import type { JobResult, Scheduler } from '../scheduling/scheduling-types.ts';
import { poolWindows } from '../tokenization/pooling.ts';
import type { EncodedRequest, EncodedRow, PairOptions } from '../tokenization/tokenization-types.ts';
import { type Clock, monotonicClock } from '../util/clock.ts';
import { renumberRow } from '../util/row-errors.ts';
import { distinct, readCache } from './known-scores.ts';
import { type CutOptions, DEFAULT_SETTINGS, type PairSettings, pairOptions } from './pair-settings.ts';
import { prunePlan, rowsOf, survivors } from './pruning.ts';
import { checkScores } from './ranking.ts';
import type { RequestScope } from './request-scope.ts';
import type { RerankRequest, UnprunedReason } from './rerank-types.ts';
import type { ScoreCache } from './score-cache.ts';
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
  /** Recall with which requests that say nothing are pruned; 0 (the default): they are not. */
  readonly pruneRecall?: number;
}

/** The same with defaults filled in. */
export interface ScoringDeps {
  readonly registry: Pick<ModelRegistry, 'acquire'>;
  readonly tokenizers: TokenizerShelf;
  readonly scheduler: Scheduler<EncodedRow>;
  readonly clock: Clock;
  readonly settings: PairSettings;
  readonly scoreCache: ScoreCache | undefined;
  readonly pruneRecall: number;
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
    pruneRecall: optional.pruneRecall ?? 0,
  };
}

/** The fields of a request that decide its scores and how they are computed. */
type ScoringRequest = CutOptions &
  Pick<RerankRequest, 'query' | 'passages' | 'topN' | 'prune' | 'lane' | 'priority' | 'subject' | 'signal' | 'isCheck'>;

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
  /** fp32 logit of each passage; 0 of those that were pruned. */
  readonly scores: Float32Array;
  /** Passages that were left out because they cannot be among the first `topN`, by place in the request, and their tokens. */
  readonly pruned?: { readonly places: readonly number[]; readonly tokens: number };
  /** Why a request that asks to be pruned was not. */
  readonly unpruned?: UnprunedReason;
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

/**
 * Runs rows by a graph of the hosts and returns one score for each passage.
 * @param places of the passages in the request, which errors name.
 * @throws WinnowError of the scheduler; `not_a_number`.
 */
async function runRows(
  deps: ScoringDeps,
  { version, request, scope, options }: MissingTask,
  { rows, passageOf }: Pick<EncodedRequest, 'rows' | 'passageOf'>,
  places: readonly number[],
  key = version.key,
): Promise<JobResult> {
  const { lane, priority, signal, subject, isCheck } = request;
  try {
    const result = await deps.scheduler.submit({
      key,
      rows,
      lane,
      deadline: scope.deadline,
      ...(subject?.key === undefined ? {} : { share: subject.key }),
      ...(priority === undefined ? {} : { priority }),
      ...(signal === undefined ? {} : { signal }),
      ...(isCheck ? { isCheck } : {}),
    });
    checkScores(result.scores);
    if (options.longPassages === 'truncate') return result;
    return { ...result, scores: poolWindows(result.scores, passageOf, places.length, options.longPassages) };
  } catch (error) {
    throw renumberRow(error, (row) => places[passageOf[row]!]);
  }
}

/** What was scored now. */
interface Fresh extends Pick<Scored, 'tokens' | 'tokenizeMs' | 'queueMs' | 'inferMs' | 'pruned' | 'unpruned'> {
  /** Passages that have a score now, by place in the request. */
  readonly places: readonly number[];
  readonly scores: Float32Array;
  readonly encoded: EncodedRequest;
  /** Returns the index in `encoded` of the passage at `places[i]`. */
  readonly at: (place: number, i: number) => number;
}

/** Scores the passages at `missing`. */
async function scoreMissing(deps: ScoringDeps, task: MissingTask): Promise<Fresh> {
  const { request, missing } = task;
  const { encoded, tokenizeMs } = await encode(deps, task);
  if (!request.truncate) checkLengths(encoded, task);
  const { scores, queueMs, inferMs } = await runRows(deps, task, encoded, missing);
  return { places: missing, scores, encoded, at: (_, i) => i, tokens: encoded.tokens, tokenizeMs, queueMs, inferMs };
}

/**
 * Scores those of the passages at `missing` that may be among the first `topN`. The early scores of all passages decide, cached or not, so that a
 * request has the same survivors whatever the cache holds. Survivors are scored by the whole model as if nothing had been pruned.
 */
async function scoreSurvivors(deps: ScoringDeps, task: MissingTask, pruning: Pruning, margin: number): Promise<Fresh> {
  const { request, missing, scope } = task;
  const all = request.passages.map((_, place) => place);
  const { encoded, tokenizeMs } = await encode(deps, { ...task, missing: all });
  if (!request.truncate) checkLengths(encoded, { ...task, missing: all });
  const key = await scope.guard(pruning.load());
  const early = await runRows(deps, task, encoded, all, key);
  const stays = survivors(early.scores, request.topN!, margin);
  const places = missing.filter((place) => stays[place]);
  const left = missing.filter((place) => !stays[place]);
  const { tokens, ...rows } = rowsOf(encoded, places);
  const run = places.length > 0 ? await runRows(deps, task, rows, places) : undefined;
  return {
    places,
    scores: run?.scores ?? new Float32Array(),
    encoded,
    at: (place) => place,
    tokens,
    tokenizeMs,
    queueMs: early.queueMs + (run?.queueMs ?? 0),
    inferMs: early.inferMs + (run?.inferMs ?? 0),
    pruned: { places: left, tokens: rowsOf(encoded, left).tokens },
  };
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
  const { margin, unpruned } = prunePlan(request, version, deps.pruneRecall);
  const work = { ...task, options, missing: once };
  try {
    const {
      places,
      at,
      encoded,
      scores: found,
      pruned,
      ...fresh
    } = await (margin === undefined || !version.pruning
      ? scoreMissing(deps, work)
      : scoreSurvivors(deps, work, version.pruning, margin));
    const indexOf = new Map(places.map((place, i) => [place, i]));
    const left: number[] = [];
    missing.forEach((place, nth) => {
      const first = once[placeOf[nth]!]!;
      const i = indexOf.get(first);
      if (i === undefined) {
        left.push(place);
        return;
      }
      scores[place] = found[i]!;
      truncated[place] = encoded.truncated[at(first, i)]!;
      queryCut[place] = encoded.queryCut[at(first, i)]!;
      cached?.set(place, { score: found[i]!, truncated: truncated[place], queryCut: queryCut[place] });
    });
    return {
      ...fresh,
      ...known,
      ...(pruned && { pruned: { places: left, tokens: pruned.tokens } }),
      ...(unpruned && request.prune && { unpruned }),
    };
  } catch (error) {
    // The scope's reason names the deadline of the request, or says that the client left.
    if (scope.signal.aborted) throw scope.signal.reason;
    throw error;
  }
}
