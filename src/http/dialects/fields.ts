import { z } from 'zod';
import { describe, WinnowError } from '../../errors.ts';
import type { Limits, QueryRequest } from './dialect.ts';
import { instructionFields, instructionOptions, overruledInstructions } from './instruction.ts';
import { pruneFields } from './prune.ts';
import { decimal, flag, flagOrWord, integer } from './scalars.ts';

/** Returns the properties that are neither undefined nor null, so that optional ones are absent rather than empty. */
export function withoutEmpty<T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null)) as {
    [K in keyof T]?: NonNullable<T[K]>;
  };
}

/** The shortest pair that any model takes. */
const LEAST_PAIR = 8;

export const query = z.string().meta({ description: 'What the passages are ranked for.' });

/** How many results an answer holds, under the names of both Cohere and Voyage. */
export const countFields = {
  top_n: integer(0, 1_000_000, 'How many results the answer holds; 0 or absent: all.'),
  top_k: integer(0, 1_000_000, 'Another name for `top_n`, which it overrides.'),
};

export const returnDocuments = flag('Put the text of each passage into its result.');

/** Fields every dialect accepts in addition to its own; none is required. */
export const commonFields = {
  model: z
    .string()
    .max(256)
    .nullish()
    .meta({ description: '`model`, `model@version` or `model:label`; the default model if absent or empty.' }),
  cascade: z
    .array(
      z.object({
        model: z.string().min(1).max(256),
        keep: integer(1, 1_000_000),
        blend: decimal(
          0,
          1,
          'How much of the ranking is the scores of the stage before: from 0 (absent) to below 1. Not in the first stage.',
        ),
      }),
    )
    .min(1)
    .max(8)
    .nullish()
    .meta({
      description:
        'Winnow: a chain of models instead of `model`; each passes its best `keep` passages to the next. All but the last need `keep`. `blend` ranks by both models.',
    }),
  raw_scores: flag('Scores before the activation (logits) instead of relevance scores in 0–1.'),
  min_score: decimal(
    -1_000_000,
    1_000_000,
    'Winnow: passages whose relevance score (after the activation) is below it are left out and counted.',
  ),
  long_passages: z.enum(['truncate', 'max', 'mean']).nullish().meta({
    description: 'Winnow: cut long passages, or score overlapping windows and take the maximum or the mean.',
  }),
  truncation: flagOrWord(
    ['longest_first', 'only_second'],
    'false: a pair that does not fit is an error. A word chooses which side of the pair loses tokens (Winnow).',
  ),
  truncation_side: z
    .enum(['left', 'right'])
    .nullish()
    .meta({ description: 'Which end of a long passage is cut; `left` keeps the end.' }),
  max_tokens_per_query: integer(
    0,
    1_000_000,
    'Tokens of the query that are used, at most; 0 or absent: what the model uses.',
  ),
  max_tokens_per_doc: integer(
    0,
    1_000_000,
    'Tokens of a passage that are used, at most; 0 or absent: no limit of its own.',
  ),
  truncate_prompt_tokens: integer(
    -1,
    1_000_000,
    `vLLM: pairs are cut to so many tokens (at least ${LEAST_PAIR}), special ones included; -1: to the model’s length.`,
  ),
  max_chunks_per_doc: integer(
    0,
    1_000_000,
    'Cohere: a long passage is scored in so many windows at most, the best of which counts unless `long_passages` says `mean`; 0 or absent: as `long_passages` says.',
  ),
  priority: integer(-1_000_000, 1_000_000, 'Smaller is served first within a lane; 0 if absent.'),
  timeout_ms: integer(1, 3_600_000, 'Winnow: deadline of the answer, in milliseconds from now.'),
  user: z.string().max(512).nullish().meta({ description: 'End user the answer is for; experiments assign by it.' }),
  ...pruneFields,
  ...instructionFields,
};

export type Common = { readonly [K in keyof typeof commonFields]?: z.infer<(typeof commonFields)[K]> };

function checkCascade(stages: NonNullable<Common['cascade']>): NonNullable<QueryRequest['cascade']> {
  return stages.map((stage, i) => {
    if (i < stages.length - 1 && !stage.keep)
      throw new WinnowError('invalid_field', {
        expected: 'a number of passages to keep',
        got: describe(stage.keep),
        field: `cascade[${i}].keep`,
      });
    return { model: stage.model, ...withoutEmpty({ keep: stage.keep, blend: stage.blend }) };
  });
}

/** Returns the length that a body sets for pairs; -1 for that of the model. */
function pairTokensOf({ truncate_prompt_tokens: count }: Common, before: string): number | undefined {
  if (count === undefined || count === null || count === -1 || count >= LEAST_PAIR) return count ?? undefined;
  throw new WinnowError('invalid_field', {
    expected: `-1 or a whole number of at least ${LEAST_PAIR}`,
    got: count,
    field: `${before}truncate_prompt_tokens`,
  });
}

/**
 * Returns the options that the common fields set.
 * @param before what stands before their names in the body, such as `parameters.`.
 * @throws WinnowError `invalid_field` for fields that exclude each other.
 */
export function commonOptions(body: Common, before = ''): Omit<QueryRequest, 'query' | 'passages' | 'names'> {
  const { truncation, model, cascade } = body;
  const pairTokens = pairTokensOf(body, before);
  if (cascade && model)
    throw new WinnowError('invalid_field', { expected: 'either `model` or `cascade`', got: 'both', field: 'cascade' });
  if (cascade && body.prune)
    throw new WinnowError('invalid_field', {
      expected: 'either `cascade` or `prune`',
      got: 'both',
      field: `${before}prune`,
    });
  return withoutEmpty({
    model: model || undefined,
    cascade: cascade ? checkCascade(cascade) : undefined,
    // A length for pairs asks for longer ones to be cut, whatever the server does by default.
    truncate: typeof truncation === 'boolean' ? truncation : pairTokens ? true : undefined,
    truncation: typeof truncation === 'string' ? truncation : undefined,
    side: body.truncation_side,
    longPassages: body.long_passages,
    minScore: body.min_score,
    prune: body.prune,
    maxPairTokens: pairTokens === -1 ? undefined : pairTokens,
    maxQueryTokens: body.max_tokens_per_query || undefined,
    maxPassageTokens: body.max_tokens_per_doc || undefined,
    maxWindows: body.max_chunks_per_doc || undefined,
    priority: body.priority,
    timeoutMs: body.timeout_ms,
    user: body.user || undefined,
    ...instructionOptions(body, before),
  });
}

/** Two names of one setting, of which the body has both with different values. */
export const differ = (first: unknown, second: unknown): boolean =>
  first !== undefined && first !== null && second !== undefined && second !== null && first !== second;

type Rivals = Common & Counts & { readonly use_activation?: boolean | null | undefined };

/** Returns the names of fields of a body that other fields of it overrule. */
export function overruledFields(body: Rivals): readonly string[] {
  const { raw_scores: raw, use_activation: activated } = body;
  return [
    ...(differ(body.top_k, body.top_n) ? ['top_n'] : []),
    ...overruledInstructions(body),
    ...(differ(raw, activated === undefined || activated === null ? activated : !activated) ? ['use_activation'] : []),
    ...(body.long_passages === 'truncate' && (body.max_chunks_per_doc ?? 0) > 1 ? ['max_chunks_per_doc'] : []),
  ];
}

type Counts = { readonly [K in keyof typeof countFields]?: z.infer<(typeof countFields)[K]> };

/** Returns `topN` for a body whose 0 means all. */
export function topNOption({ top_k, top_n }: Counts): { readonly topN?: number } {
  const count = top_k ?? top_n;
  return count ? { topN: count } : {};
}

/** Returns a string of the body. @throws WinnowError `invalid_field` for another type. */
export function textAt(value: unknown, field: string): string {
  if (typeof value === 'string') return value;
  throw new WinnowError('invalid_field', { expected: 'a string', got: describe(value), field });
}

/**
 * Refuses an empty list and one above the limit, before its members are read.
 * @throws WinnowError `empty_passages`, `too_many_passages`.
 */
export function checkCount(count: number, field: string, limits: Limits): void {
  if (count === 0) throw new WinnowError('empty_passages', { field });
  if (count > limits.maxPassages)
    throw new WinnowError('too_many_passages', { limit: limits.maxPassages, got: count, field });
}

/**
 * Returns the schema of a list whose members `textsOf` checks in one plain loop: the validator's own walk over 10,000 strings would block
 * the event loop.
 */
export const textList = (description: string) =>
  z.array(z.unknown()).meta({ description, items: { type: 'string' }, minItems: 1 });

/**
 * Returns the members of a list as texts.
 * @throws WinnowError `empty_passages`, `too_many_passages`, `invalid_field` naming the member.
 */
export function textsOf(list: readonly unknown[], field: string, limits: Limits): readonly string[] {
  checkCount(list.length, field, limits);
  return list.map((value, i) => textAt(value, `${field}[${i}]`));
}
