import { z } from 'zod';
import type { RerankAnswer } from '../../rerank/rerank-types.ts';
import type { AnswerContext } from './dialect.ts';

const texts = (count: number) => `${count} ${count === 1 ? 'text' : 'texts'}`;

const tokens = (count: number) => `${count} ${count === 1 ? 'token' : 'tokens'}`;

/**
 * Returns what the client should know of its answer: text that was left out or changed, and fields without effect.
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
    ...ignored.map((field) => `\`${field}\` is not supported and had no effect`),
  ];
}

/** `meta` of answers that otherwise have none. */
export const warningsMeta = z
  .object({ warnings: z.array(z.string()) })
  .optional()
  .meta({ description: 'Winnow: what was left out or had no effect; absent if there is nothing to say.' });

/** Returns that `meta`. */
export const metaOf = ({ warnings }: AnswerContext) => (warnings.length > 0 ? { warnings } : undefined);
