import { instructionNote } from './pair-settings.ts';
import { rank, relevanceOf } from './ranking.ts';
import type { RequestScope } from './request-scope.ts';
import type { ModelRanking, RerankRequest, Timings } from './rerank-types.ts';
import { scorePassages, withModel } from './scoring.ts';
import type { Scored, ScoringDeps, SharedEncodings } from './scoring-types.ts';

/** Returns the timings of one scoring; `totalMs` is from the start of the request until now. */
export function timingsOf(
  deps: Pick<ScoringDeps, 'clock'>,
  { tokenizeMs, queueMs, inferMs }: Pick<Scored, 'tokenizeMs' | 'queueMs' | 'inferMs'>,
  scope: RequestScope,
): Timings {
  return { tokenizeMs, queueMs, inferMs, totalMs: deps.clock.now() - scope.startedAt };
}

/** Returns the most tokens of the query that any pair left out. */
export const mostCut = (queryCut: Int32Array): number => queryCut.reduce((most, cut) => Math.max(most, cut), 0);

/** Returns what an answer says of pruning. */
const pruneNote = ({ pruned, unpruned }: Scored): Pick<ModelRanking, 'pruned' | 'unpruned'> => ({
  ...(pruned && { pruned: { passages: pruned.places.length, tokens: pruned.tokens } }),
  ...(unpruned && { unpruned }),
});

/** A request to be ranked by one model. */
interface RankingTask {
  readonly request: RerankRequest;
  /** `model`, `model@version`, `model:label`; the default model if undefined. */
  readonly model: string | undefined;
  readonly scope: RequestScope;
  readonly shared?: SharedEncodings;
}

/**
 * Ranks all passages of a request by one model.
 * @throws WinnowError of registry, tokenizer, scheduler and scoring.
 */
export function rankByModel(deps: ScoringDeps, { request, model, scope, shared }: RankingTask): Promise<ModelRanking> {
  const askedAt = deps.clock.now();
  return withModel(deps, model, scope, async (version) => {
    const leaseMs = deps.clock.now() - askedAt;
    const scored = await scorePassages(deps, { version, request, scope, shared });
    return {
      model: version.name,
      version: version.version,
      ranking: rank(scored.scores, relevanceOf(version), scored.pruned?.places),
      tokens: scored.tokens,
      truncated: scored.truncated,
      queryCut: mostCut(scored.queryCut),
      ...instructionNote(request, [version]),
      ...pruneNote(scored),
      ...(scored.kept && { kept: scored.kept }),
      timings: timingsOf(deps, scored, scope),
      leaseMs,
    };
  });
}
