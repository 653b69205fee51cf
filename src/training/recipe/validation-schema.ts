import { z } from 'zod';
import { dataSourceSchema } from '../data/data-schema.ts';

const count = (min: number) => z.number().int().min(min);

/** A validation set, its measure and how often it is used. */
export const validationSchema = z.strictObject({
  data: dataSourceSchema,
  every: count(1).default(100).describe('Steps between validations.'),
  measure: z.string().default('nDCG@10').describe('Measure that decides which weights are the best.'),
  depth: count(1).default(100).describe('Number of passages of the first stage to re-rank.'),
  queries: count(1).optional().describe('Number of queries to use; all by default.'),
  patience: count(0).default(0).describe('Stop after this many validations without a better value; 0: never.'),
});

const measures = (text: string) => z.array(z.string().min(1)).optional().describe(text);

/** A set that is measured at every validation and decides nothing. */
const furtherSet = z.strictObject({
  name: z
    .string()
    .regex(/^[\w.-]{1,40}$/, 'expected a name of letters, digits, dots, dashes')
    .describe('Name in the curve.'),
  data: dataSourceSchema,
  measures: z.array(z.string().min(1)).default([]).describe('Measures of the set; that of the validation by default.'),
  depth: count(1).default(100).describe('Number of passages of the first stage to re-rank.'),
  queries: count(1).optional().describe('Number of queries to use; all by default.'),
});

/** The validation of a recipe. That of a grid's benchmarks has no training data beside it. */
export const ownValidationSchema = validationSchema.extend({
  weights: z
    .enum(['best', 'last'])
    .default('best')
    .describe(
      'Weights that are published. best: those of the best validation; last: those of the last step, where the queries are too few to choose by.',
    ),
  measures: measures('Further measures of the same scores, recorded beside `measure`.'),
  sets: z.array(furtherSet).optional().describe('Further sets, measured at every validation. They decide nothing.'),
  leaks: z
    .enum(['warn', 'refuse-queries', 'refuse', 'allow'])
    .default('warn')
    .describe(
      'What happens where texts of the validation set stand in the training lists. warn: say how many; refuse-queries: stop for a query; refuse: stop for a query or a passage; allow: do not look.',
    ),
});
