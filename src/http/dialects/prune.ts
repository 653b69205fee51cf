import { z } from 'zod';
import type { RerankAnswer } from '../../rerank/rerank-types.ts';
import type { QueryRequest } from './dialect.ts';

/* Early pruning: passages that cannot reach the first `top_n` are left out before they are scored. */

/** Fields of every body. */
export const pruneFields = {
  prune: z
    .union([z.literal(false), z.strictObject({ recall: z.number().gt(0).lt(1) })], {
      error: 'false, or {"recall": R} with R between 0 and 1',
    })
    .nullish()
    .meta({
      description:
        'Winnow: leaves out passages that cannot be among the first `top_n`, before they are scored; `recall` is the part of the first `top_n` that has to stay. false: nothing is pruned, whatever the server does by default.',
      anyOf: [
        { type: 'boolean', enum: [false] },
        {
          type: 'object',
          properties: { recall: { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1 } },
          required: ['recall'],
          additionalProperties: false,
        },
        { type: 'null' },
      ],
    }),
};

const REASONS: Readonly<Record<NonNullable<RerankAnswer['unpruned']>, (model: string) => string>> = {
  no_top_n: () => 'it needs `top_n` below the number of passages',
  uncalibrated: (model) => `${model} is not calibrated for pruning (\`npx winnow prune\`)`,
  recall: (model) => `the calibration of ${model} has no margin for so high a recall`,
  experiment: () => 'the request is part of an experiment, whose arms rank every passage',
};

/** Returns why requests of a body were not pruned though they ask for it, one sentence a reason. */
export function unprunedWarnings(answers: readonly RerankAnswer[]): readonly string[] {
  const told = answers.flatMap(({ unpruned, model, version }) =>
    unpruned ? [`\`prune\` had no effect: ${REASONS[unpruned](`${model}@${version}`)}`] : [],
  );
  return [...new Set(told)];
}

/** Returns the field `prune` where no request of the body was pruned though it asks for it. */
export const unusedPrune = (requests: readonly QueryRequest[], answers: readonly RerankAnswer[]): readonly string[] =>
  answers.every(({ unpruned }) => unpruned) ? [`${requests[0]?.names.options ?? ''}prune`] : [];

/** What pruning left out of the answers to one body. */
export interface Pruned {
  readonly passages: number;
  readonly tokens: number;
}

/** Returns what was left out of answers; undefined where no list was pruned. */
export function prunedOf(answers: readonly RerankAnswer[]): Pruned | undefined {
  const found = answers.flatMap(({ pruned }) => pruned ?? []);
  if (found.length === 0) return undefined;
  return found.reduce((a, b) => ({ passages: a.passages + b.passages, tokens: a.tokens + b.tokens }));
}

/** What `meta` says of pruning. */
export const prunedField = {
  pruned: z
    .object({ passages: z.number().int().min(0), tokens: z.number().int().min(0) })
    .optional()
    .meta({ description: 'Winnow: passages left out by `prune`, and their tokens; absent without it.' }),
};
