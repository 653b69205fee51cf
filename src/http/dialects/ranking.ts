import { WinnowError } from '../../errors.ts';
import type { Ranked, RerankAnswer } from '../../rerank/rerank-types.ts';

/**
 * Returns the ranking in the order of the request: one entry for each passage that the answer does not leave out because of its score.
 * @throws WinnowError `inference_failed` if another passage has no score.
 */
export function byIndex(answer: RerankAnswer, passages: number): readonly Ranked[] {
  const ordered = new Array<Ranked | undefined>(passages).fill(undefined);
  for (const ranked of answer.ranking) ordered[ranked.index] = ranked;
  const found = ordered.filter((ranked) => ranked !== undefined);
  if (found.length + (answer.belowMinScore ?? 0) === passages) return found;
  throw new WinnowError('inference_failed', { reason: `passage ${ordered.indexOf(undefined)} has no score` });
}
