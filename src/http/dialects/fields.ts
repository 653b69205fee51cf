import { z } from 'zod';
import { describe, WinnowError } from '../../errors.ts';
import type { Asked, Limits } from './dialect.ts';

/** Leaves out what is undefined or null, so that optional properties are absent rather than empty. */
export function present<T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null)) as {
    [K in keyof T]?: NonNullable<T[K]>;
  };
}

const integer = (min: number, max: number) => z.number().int().min(min).max(max);
const flag = z.boolean().nullish();

const TRUNCATION_RULES = ['longest_first', 'only_second'] as const;

export const query = z.string().meta({ description: 'What the passages are ranked for.' });

export const topN = integer(0, 1_000_000)
  .nullish()
  .meta({ description: 'How many results the answer holds; 0 or absent: all.' });

export const returnDocuments = flag.meta({ description: 'Put the text of each passage into its result.' });

/** Fields every dialect takes besides its own; none is required. */
export const commonFields = {
  model: z
    .string()
    .max(256)
    .nullish()
    .meta({ description: '`model`, `model@version` or `model:label`; the default model if absent or empty.' }),
  cascade: z
    .array(z.object({ model: z.string().min(1).max(256), keep: integer(1, 1_000_000).nullish() }))
    .min(1)
    .max(8)
    .nullish()
    .meta({
      description:
        'Winnow: a chain of models instead of `model`; each hands its best `keep` passages on. All but the last name `keep`.',
    }),
  raw_scores: flag.meta({ description: 'Scores before the activation (logits) instead of relevance scores in 0–1.' }),
  long_passages: z.enum(['truncate', 'max', 'mean']).nullish().meta({
    description: 'Winnow: cut long passages, or score overlapping windows and take the maximum or the mean.',
  }),
  truncation: z
    .union([z.boolean(), z.enum(TRUNCATION_RULES)], { error: 'a boolean, "longest_first" or "only_second"' })
    .nullish()
    .meta({
      description:
        'false: a pair that does not fit is an error. A word chooses which side of the pair loses tokens (Winnow).',
    }),
  truncation_side: z
    .enum(['left', 'right'])
    .nullish()
    .meta({ description: 'Which end of a long passage is cut; `left` keeps the end.' }),
  max_tokens_per_doc: integer(1, 1_000_000).nullish().meta({ description: 'Tokens of a passage used at the most.' }),
  priority: integer(-1_000_000, 1_000_000)
    .nullish()
    .meta({ description: 'Smaller is served first within a lane; 0 if absent.' }),
  timeout_ms: integer(1, 3_600_000)
    .nullish()
    .meta({ description: 'Winnow: the answer is of no use after so many milliseconds.' }),
  user: z.string().max(512).nullish().meta({ description: 'Whom the answer is for; experiments assign by it.' }),
};

type Common = { readonly [K in keyof typeof commonFields]?: z.infer<(typeof commonFields)[K]> };

function checkCascade(stages: NonNullable<Common['cascade']>): NonNullable<Asked['cascade']> {
  return stages.map((stage, i) => {
    if (i < stages.length - 1 && !stage.keep)
      throw new WinnowError('invalid_field', {
        expected: 'a number of passages to keep',
        got: describe(stage.keep),
        field: `cascade[${i}].keep`,
      });
    return { model: stage.model, ...present({ keep: stage.keep }) };
  });
}

/**
 * What the common fields ask for.
 * @throws WinnowError `invalid_field` for fields that exclude each other.
 */
export function askedBy(body: Common): Omit<Asked, 'query' | 'passages'> {
  const { truncation, model, cascade } = body;
  if (cascade && model)
    throw new WinnowError('invalid_field', { expected: 'either `model` or `cascade`', got: 'both', field: 'cascade' });
  return {
    ...present({
      model: model || undefined,
      cascade: cascade ? checkCascade(cascade) : undefined,
      truncate: typeof truncation === 'boolean' ? truncation : undefined,
      truncation: typeof truncation === 'string' ? truncation : undefined,
      side: body.truncation_side,
      longPassages: body.long_passages,
      maxPassageTokens: body.max_tokens_per_doc,
      priority: body.priority,
      timeoutMs: body.timeout_ms,
      user: body.user || undefined,
    }),
  };
}

/** `topN` of a body whose 0 means all. */
export function limitTo(count: number | null | undefined): { readonly topN?: number } {
  return count ? { topN: count } : {};
}

/** Where a string stops being text that a tokenizer can take, if it does. */
function faultIn(text: string): string | undefined {
  if (text.includes('\0')) return `a NUL character at ${text.indexOf('\0')}`;
  if (!text.isWellFormed()) return 'a lone surrogate';
  return undefined;
}

/**
 * A string of the body as text.
 * @throws WinnowError `invalid_field` for another type, NUL characters and lone surrogates.
 */
export function textAt(value: unknown, field: string): string {
  if (typeof value !== 'string')
    throw new WinnowError('invalid_field', { expected: 'a string', got: describe(value), field });
  const fault = faultIn(value);
  if (fault) throw new WinnowError('invalid_field', { expected: 'well-formed text', got: fault, field });
  return value;
}

/**
 * Refuses an empty list and one above the limit, before anything looks at its members.
 * @throws WinnowError `empty_passages`, `too_many_passages`.
 */
export function checkCount(count: number, field: string, limits: Limits): void {
  if (count === 0) throw new WinnowError('empty_passages', { field });
  if (count > limits.maxPassages)
    throw new WinnowError('too_many_passages', { limit: limits.maxPassages, got: count, field });
}

/**
 * A list whose members are checked by `textsOf` in one plain loop: a validator's own walk over 10,000 strings would hold the event loop.
 */
export const textList = (description: string) =>
  z.array(z.unknown()).meta({ description, items: { type: 'string' }, minItems: 1 });

/** @throws WinnowError `empty_passages`, `too_many_passages`, `invalid_field` naming the member. */
export function textsOf(list: readonly unknown[], field: string, limits: Limits): readonly string[] {
  checkCount(list.length, field, limits);
  return list.map((value, i) => textAt(value, `${field}[${i}]`));
}
