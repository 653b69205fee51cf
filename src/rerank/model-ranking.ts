import { rank } from './ranking.ts';
import type { RequestScope } from './scope.ts';
import { type Scored, type ScoringDeps, type SharedEncodings, scorePassages, withModel } from './scoring.ts';
import type { ModelRanking, RerankRequest, Timings } from './types.ts';

/** Timings of one scoring, up to now. */
export function timingsOf(
  deps: Pick<ScoringDeps, 'clock'>,
  { tokenizeMs, queueMs, inferMs }: Pick<Scored, 'tokenizeMs' | 'queueMs' | 'inferMs'>,
  scope: RequestScope,
): Timings {
  return { tokenizeMs, queueMs, inferMs, totalMs: deps.clock.now() - scope.startedAt };
}

/**
 * Ranks a whole request by one model.
 * @throws WinnowError of registry, tokenizer, scheduler and scoring.
 */
export function rankByModel(
  deps: ScoringDeps,
  request: RerankRequest,
  reference: string | undefined,
  scope: RequestScope,
  shared?: SharedEncodings,
): Promise<ModelRanking> {
  return withModel(deps, reference, scope, async (version) => {
    const scored = await scorePassages(deps, version, request, scope, shared);
    return {
      model: version.name,
      version: version.version,
      ranking: rank(scored.scores, version.activation),
      tokens: scored.tokens,
      truncated: scored.truncated,
      timings: timingsOf(deps, scored, scope),
    };
  });
}
