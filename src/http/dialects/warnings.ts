import { z } from 'zod';
import type { RerankAnswer } from '../../rerank/rerank-types.ts';
import type { AnswerContext } from './dialect.ts';
import { prunedField, prunedOf, unprunedWarnings } from './prune.ts';

const texts = (count: number) => `${count} ${count === 1 ? 'text' : 'texts'}`;

const tokens = (count: number) => `${count} ${count === 1 ? 'token' : 'tokens'}`;

/**
 * Returns the warnings of an answer: text that was left out or changed, and fields without effect.
 * @param ignored names of the fields.
 * @param repaired number of texts in which bad characters were dropped or replaced.
 */
export function warningsOf(
  answers: readonly RerankAnswer[],
  ignored: readonly string[],
  repaired: number,
): readonly string[] {
  const flags = answers.flatMap(({ truncated }) => truncated);
  const cut = flags.filter(Boolean).length;
  const queries = answers.filter(({ queryCut }) => queryCut > 0);
  const left = queries.reduce((sum, { queryCut }) => sum + queryCut, 0);
  const subject = answers.length === 1 ? 'the query was' : `${queries.length} of ${answers.length} queries were`;
  return [
    ...(cut > 0 ? [`${cut} of ${flags.length} passages were truncated`] : []),
    ...(left > 0 ? [`${subject} truncated: ${tokens(left)} left out`] : []),
    ...(repaired > 0 ? [`NUL or halves of characters were dropped or replaced in ${texts(repaired)}`] : []),
    ...unprunedWarnings(answers),
    ...ignored.map((field) => `\`${field}\` is not supported and had no effect`),
  ];
}

/** Returns how many passages answers leave out because of `min_score`; undefined where the body has none. */
export function belowMinScore(answers: readonly RerankAnswer[]): number | undefined {
  const counts = answers.flatMap(({ belowMinScore: count }) => count ?? []);
  return counts.length > 0 ? counts.reduce((sum, count) => sum + count, 0) : undefined;
}

/** What `meta` says of an answer, in addition to what its format has there. */
export const metaFields = {
  warnings: z
    .array(z.string())
    .optional()
    .meta({ description: 'Winnow: what was left out or had no effect; absent if there is nothing to say.' }),
  below_min_score: z.number().int().min(0).optional().meta({
    description: 'Winnow: passages left out because of `min_score`; absent without it.',
  }),
  ...prunedField,
};

/** `meta` of answers that otherwise have none. */
export const warningsMeta = z.object(metaFields).optional();

/** Returns that `meta`; undefined where there is nothing to say. */
export function metaOf({ warnings }: AnswerContext, answers: readonly RerankAnswer[]) {
  const below = belowMinScore(answers);
  const pruned = prunedOf(answers);
  if (warnings.length === 0 && below === undefined && pruned === undefined) return undefined;
  return {
    ...(warnings.length > 0 && { warnings }),
    ...(below !== undefined && { below_min_score: below }),
    ...(pruned && { pruned }),
  };
}
