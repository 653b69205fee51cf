import { WinnowError } from '../../errors.ts';
import type { Ranked, RerankAnswer } from '../../rerank/rerank-types.ts';

/**
 * Returns the ranking in the order of the request, one entry for each passage.
 * @throws WinnowError `inference_failed` if a passage has no score.
 */
export function byIndex(answer: RerankAnswer, passages: number): readonly Ranked[] {
  const ordered = new Array<Ranked | undefined>(passages).fill(undefined);
  for (const ranked of answer.ranking) ordered[ranked.index] = ranked;
  return ordered.map((ranked, i) => {
    if (!ranked) throw new WinnowError('inference_failed', { reason: `passage ${i} has no score` });
    return ranked;
  });
}
