import { WinnowError } from '../errors.ts';
import type { Decision, ExperimentHook } from '../experiments/ports.ts';
import { ArmRunner, type ExperimentRanking } from './arm-runner.ts';
import { rankByCascade } from './cascade.ts';
import { rankByModel } from './model-ranking.ts';
import { atLeast } from './ranking.ts';
import { openScope, type RequestScope } from './request-scope.ts';
import type { ModelRanking, RerankAnswer, Reranker, RerankObserver, RerankRequest } from './rerank-types.ts';
import { scoringDeps } from './scoring.ts';
import type { ScoringOptions } from './scoring-types.ts';

export interface RerankerOptions<D extends Decision = Decision> extends ScoringOptions {
  readonly observer?: RerankObserver;
  readonly experiments?: ExperimentHook<D>;
}

/** @throws WinnowError `empty_passages`, `invalid_field`. */
function checkRequest({ passages, topN, minScore, deadlineMs }: RerankRequest): void {
  if (passages.length === 0) throw new WinnowError('empty_passages', { field: 'passages' });
  if (topN !== undefined && !(Number.isInteger(topN) && topN > 0))
    throw new WinnowError('invalid_field', { expected: 'a whole number of at least 1', got: topN, field: 'topN' });
  if (minScore !== undefined && !Number.isFinite(minScore))
    throw new WinnowError('invalid_field', { expected: 'a finite number', got: minScore, field: 'minScore' });
  if (!(deadlineMs > 0))
    throw new WinnowError('invalid_field', { expected: 'a number above 0', got: deadlineMs, field: 'deadlineMs' });
}

/**
 * Creates the use case: request → model → tokens → batches → scores → ranking, with experiments, cascades and the score cache where they
 * apply. Deadline and signal hold for every step; a model is leased only while it is used.
 */
export function createReranker<D extends Decision = Decision>(options: RerankerOptions<D>): Reranker {
  const deps = scoringDeps(options);
  const { clock } = deps;
  const arms = options.experiments && new ArmRunner(deps, options.experiments, options.observer ?? {});

  const answerOf = (
    request: RerankRequest,
    scope: RequestScope,
    ranked: ModelRanking | ExperimentRanking,
  ): RerankAnswer => {
    const { minScore, topN } = request;
    const kept = minScore === undefined ? ranked.ranking : atLeast(ranked.ranking, minScore);
    return {
      ...ranked,
      ranking: kept.slice(0, topN),
      ...(minScore === undefined ? {} : { belowMinScore: ranked.ranking.length - kept.length }),
      timings: { ...ranked.timings, totalMs: clock.now() - scope.startedAt },
    };
  };

  const rerank = async (request: RerankRequest, scope: RequestScope): Promise<RerankAnswer> => {
    if (request.cascade) return answerOf(request, scope, await rankByCascade(deps, request, scope));
    const decision = await arms?.decide(request, scope);
    if (arms && decision) return arms.run(decision, request, scope, (ranked) => answerOf(request, scope, ranked));
    return answerOf(request, scope, await rankByModel(deps, { request, model: request.model, scope }));
  };

  return {
    async rerank(request) {
      checkRequest(request);
      const scope = openScope(clock, request.deadlineMs, request.signal);
      try {
        return await rerank(request, scope);
      } finally {
        scope.close();
      }
    },
  };
}
