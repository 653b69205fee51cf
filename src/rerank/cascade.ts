import { describe, WinnowError } from '../errors.ts';
import { blendScores } from '../util/blend.ts';
import { sumOfKept } from './kept-passages.ts';
import { mostCut, timingsOf } from './model-ranking.ts';
import { instructionNote } from './pair-settings.ts';
import { neverRising, rankOrder, relevanceOf, relevanceScore } from './ranking.ts';
import type { RequestScope } from './request-scope.ts';
import type { CascadeStage, ModelRanking, Ranked, RerankRequest, StageRun, Timings } from './rerank-types.ts';
import { scorePassages, withModel } from './scoring.ts';
import type { Scored, ScoringDeps } from './scoring-types.ts';
import { combineTimings } from './timings.ts';

/** @throws WinnowError `invalid_field` for an empty cascade or a stage without a valid `keep` or `blend`. */
function checkStages({ cascade = [], model, prune }: RerankRequest): void {
  const refuse = (expected: string, got: unknown, field: string): never => {
    throw new WinnowError('invalid_field', { expected, got: describe(got), field });
  };
  if (model !== undefined) refuse('either `model` or `cascade`', 'both', 'cascade');
  if (prune) refuse('either `cascade` or `prune`', 'both', 'prune');
  if (cascade.length === 0) refuse('at least one stage', cascade, 'cascade');
  cascade.forEach(({ keep, blend }, i) => {
    const optional = i === cascade.length - 1 && keep === undefined;
    if (!optional && !(Number.isInteger(keep) && keep! > 0))
      refuse('a whole number of passages of at least 1', keep, `cascade[${i}].keep`);
    if (blend === undefined) return;
    if (i === 0) refuse('no `blend` in the first stage, which has no scores before it', blend, 'cascade[0].blend');
    if (!(blend >= 0 && blend < 1)) refuse('a number of at least 0 and below 1', blend, `cascade[${i}].blend`);
  });
}

interface StageResult {
  readonly scored: Scored;
  /** Places in the request, best first. */
  readonly order: readonly number[];
  /** Scores by place in the request. */
  readonly scoreOf: ReadonlyMap<number, number>;
  readonly timings: Timings;
  readonly leaseMs: number;
}

/** What a stage gets from the one before it; the first gets all passages. */
type Given = Pick<StageResult, 'scoreOf'> & {
  /** Passages, by place in the request. */
  readonly places: readonly number[];
};

async function runStage(
  deps: ScoringDeps,
  request: RerankRequest,
  stage: CascadeStage,
  { places, scoreOf: before }: Given,
  scope: RequestScope,
): Promise<StageResult> {
  const passages = places.map((place) => request.passages[place]!);
  const askedAt = deps.clock.now();
  let leaseMs = 0;
  const scored = await withModel(deps, stage.model, scope, (version) => {
    leaseMs = deps.clock.now() - askedAt;
    return scorePassages(deps, { version, request: { ...request, passages, prune: false }, scope });
  });
  const scores = stage.blend
    ? blendScores(
        scored.scores,
        places.map((place) => before.get(place)!),
        stage.blend,
      )
    : scored.scores;
  return {
    scored,
    leaseMs,
    order: Array.from(rankOrder(scores), (at) => places[at]!),
    scoreOf: new Map(places.map((place, at) => [place, scores[at]!])),
    timings: timingsOf(deps, scored, scope),
  };
}

const stageRun = ({ scored: { version, scores }, leaseMs, timings }: StageResult): StageRun => ({
  model: version.name,
  version: version.version,
  passages: scores.length,
  leaseMs,
  timings,
});

/** Returns the passages that a stage ranked at `from` and below, with that stage's scores. */
function rankedFrom({ scored, order, scoreOf }: StageResult, from: number, stage: number): Ranked[] {
  return order.slice(from).map((index) => {
    const score = scoreOf.get(index)!;
    return { index, score, relevanceScore: relevanceScore(score, relevanceOf(scored.version)), stage };
  });
}

/** Returns for each passage whether the model that scored it last saw less than its whole text. */
function truncations(request: RerankRequest, stages: readonly StageResult[]): boolean[] {
  const truncated = request.passages.map(() => false);
  for (const { scored, scoreOf } of stages)
    [...scoreOf.keys()].forEach((place, at) => {
      truncated[place] = scored.truncated[at]!;
    });
  return truncated;
}

/**
 * Runs the stages one after the other: each ranks the passages it gets and passes its best `keep` on. With `blend` a stage ranks by a mixture
 * of its scores and those of the stage before, which are then the scores of its passages.
 *
 * The last stage's ranking comes first, then the passages that earlier stages dropped: those of later stages above those of earlier ones,
 * each in the order of its stage. Every item has the score of the model that scored it last (`stage` says which), lowered where it would
 * exceed the one above: scores of two models do not compare, and this way a sort by score keeps the ranking. A `keep` of the last stage
 * bounds the answer like `topN`. Tokens and timings cover all stages.
 * @throws WinnowError `invalid_field` for invalid stages, and those of registry, tokenizer, scheduler and scoring.
 */
export async function rankByCascade(
  deps: ScoringDeps,
  request: RerankRequest,
  scope: RequestScope,
): Promise<ModelRanking> {
  checkStages(request);
  const cascade = request.cascade!;
  const stages: StageResult[] = [];
  let given: Given = { places: request.passages.map((_, place) => place), scoreOf: new Map() };
  for (const stage of cascade) {
    const result = await runStage(deps, request, stage, given, scope);
    stages.push(result);
    given = { places: result.order.slice(0, stage.keep), scoreOf: result.scoreOf };
  }
  const last = stages.length - 1;
  const dropped = stages.slice(0, -1).flatMap((stage, i) => [rankedFrom(stage, cascade[i]!.keep!, i)]);
  const whole = [...rankedFrom(stages[last]!, 0, last), ...dropped.reverse().flat()];
  const { version } = stages[last]!.scored;
  const kept = sumOfKept(stages.map(({ scored }) => scored));
  return {
    model: version.name,
    version: version.version,
    ranking: neverRising(whole).slice(0, cascade[last]!.keep),
    tokens: stages.reduce((total, { scored }) => total + scored.tokens, 0),
    truncated: truncations(request, stages),
    queryCut: Math.max(...stages.map(({ scored }) => mostCut(scored.queryCut))),
    ...instructionNote(
      request,
      stages.map(({ scored }) => scored.version),
    ),
    ...(kept && { kept }),
    timings: combineTimings(
      'stages',
      stages.map(({ timings }) => timings),
    ),
    stages: stages.map(stageRun),
  };
}
