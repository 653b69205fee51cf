import type { Pruning } from '../registry/pruning.ts';
import type { Lease, ServedVersion } from '../registry/registry-types.ts';
import type { EncodedRequest } from '../tokenization/tokenization-types.ts';
import { monotonicClock } from '../util/clock.ts';
import { distinct, readCache } from './known-scores.ts';
import { DEFAULT_SETTINGS, pairOptions } from './pair-settings.ts';
import { prunePlan, rowsOf, survivors } from './pruning.ts';
import type { RequestScope } from './request-scope.ts';
import type { KeptPassages } from './rerank-types.ts';
import { checkLengths, runRows, tokenizing } from './run-rows.ts';
import { scoreApart } from './score-apart.ts';
import { scoreByStates } from './score-states.ts';
import type { Fresh, MissingTask, Scored, ScoringDeps, ScoringOptions, ScoringTask } from './scoring-types.ts';
import { TokenizerShelf } from './tokenizer-shelf.ts';

/** Fills in defaults and opens a shelf of tokenizers. */
export function scoringDeps({ registry, tokenizers, scheduler, ...optional }: ScoringOptions): ScoringDeps {
  return {
    registry,
    tokenizers: new TokenizerShelf(tokenizers),
    scheduler,
    clock: optional.clock ?? monotonicClock,
    settings: optional.settings ?? DEFAULT_SETTINGS,
    scoreCache: optional.scoreCache,
    passages: optional.passages,
    cascadeOf: optional.cascadeOf ?? (() => undefined),
    pruneRecall: optional.pruneRecall ?? 0,
  };
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

function encode(
  deps: ScoringDeps,
  task: MissingTask,
): Promise<{ readonly encoded: EncodedRequest; readonly tokenizeMs: number }> {
  const { request, missing, scope, shared } = task;
  const { query, passages } = request;
  const isWhole = missing.length === passages.length;
  const texts = isWhole ? passages : missing.map((i) => passages[i]!);
  return tokenizing(deps, task, (tokenizer, read) => {
    const run = () => scope.guard(tokenizer.encode(query, texts, read, scope.signal));
    // The passages that a cache leaves differ between models, so only whole requests are shared.
    if (!shared || !isWhole || !tokenizer.pairKey) return run();
    const key = JSON.stringify([tokenizer.pairKey, read, texts.length]);
    const pending = shared.get(key) ?? run();
    shared.set(key, pending);
    return pending;
  });
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

function scoreFresh(deps: ScoringDeps, task: MissingTask, margin: number | undefined): Promise<Fresh> {
  const { encoder, passages, pruning } = task.version;
  if (encoder) return passages ? scoreByStates(deps, task, encoder, passages) : scoreApart(deps, task, encoder);
  return margin === undefined || !pruning ? scoreMissing(deps, task) : scoreSurvivors(deps, task, pruning, margin);
}

/** Counts passages: `placeOf` has for each the place of its text in `read`. */
function keptPassages(read: readonly boolean[], placeOf: readonly number[]): KeptPassages {
  const misses = placeOf.filter((place) => read[place]).length;
  return { hits: placeOf.length - misses, misses };
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
  const { once, placeOf } = await scope.guard(distinct(passages, missing, scope.signal));
  const { margin, unpruned } = prunePlan(request, version, deps.pruneRecall);
  const work = { ...task, options, missing: once };
  try {
    const { places, at, encoded, scores: found, pruned, read, ...fresh } = await scoreFresh(deps, work, margin);
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
      ...(read && { kept: keptPassages(read, placeOf) }),
    };
  } catch (error) {
    // The scope's reason names the deadline of the request, or says that the client left.
    if (scope.signal.aborted) throw scope.signal.reason;
    throw error;
  }
}
