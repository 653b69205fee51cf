import { z } from 'zod';
import { spelled } from '../../util/spelling.ts';
import { COLUMN_ROLES } from './columns.ts';

/** Formats of training data. */
export const DATA_FORMATS = [
  'rank_llm',
  'trec',
  'triples',
  'teacher_tsv',
  'jsonl',
  'json',
  'csv',
  'tsv',
  'parquet',
  'datasets',
  'beir',
  'wikiqa',
  'squad',
] as const;
export type DataFormat = (typeof DATA_FORMATS)[number];

export const dataSourceSchema = z.strictObject({
  format: z.enum(DATA_FORMATS).describe('Format of the lists.'),
  path: z.string().describe('File or folder of the lists (run, triples, JSONL, BEIR folder…).'),
  qrels: z.string().optional().describe('File of judgements, TREC or TSV.'),
  candidates: z.string().optional().describe('BEIR, WikiQA, SQuAD: run file with the candidate lists.'),
  queries: z.string().optional().describe('TSV of query id and text, where the lists hold ids.'),
  collection: z.string().optional().describe('TSV or JSONL of passage id and text, where the lists hold ids.'),
  teacher: z
    .string()
    .optional()
    .describe(
      'Run file, or JSON as of rank-llm, with the teacher’s scores; by default the scores of the lists, if they have any.',
    ),
  teacherValue: z
    .enum(['score', 'rank'])
    .default('score')
    .describe('Column of a run file that is the teacher: its scores (higher is better) or its ranks (1 is best).'),
  columns: z
    .record(z.string(), z.enum(COLUMN_ROLES))
    .optional()
    .describe('Rows with columns: role by column name, for names that are not known; `ignore` leaves a column out.'),
  split: z
    .string()
    .optional()
    .describe('BEIR, WikiQA, folders of datasets: part of the data set (`train`, `dev`, `test`).'),
  randomNegatives: z
    .number()
    .int()
    .min(0)
    .default(0)
    .describe('Number of passages drawn from the whole collection and appended to each list.'),
  addRelevant: z.boolean().default(false).describe('Append relevant passages that are not among the candidates.'),
  teacherPositives: z
    .number()
    .int()
    .min(0)
    .default(0)
    .describe('Number of the teacher’s best passages that count as relevant, for queries without judgements.'),
  excludeJudged: z.string().optional().describe('Judgements of held-out queries, which are left out.'),
  drop: z
    .string()
    .optional()
    .describe('JSON lines of `query` and `passage` that are no negatives: the false negatives that a run has found.'),
  teacherScale: z.number().positive().default(1).describe('Factor on the teacher’s scores.'),
  minRelevance: z
    .number()
    .optional()
    .describe(
      'Lowest grade of a relevant passage; 1 by default. For labels of rows there is no default: a label from 0 to 1 is a target.',
    ),
  labelScale: z
    .tuple([z.number(), z.number()])
    .optional()
    .describe('Labels of rows that stand for 0 and 1, such as [1, 5]; those between become targets between.'),
  weight: z.number().positive().default(1).describe('Share of this source among several.'),
  licence: spelled(z.string().optional().describe('License of the data, for the card.'), { key: 'license' }),
  madeFrom: z
    .array(z.string())
    .optional()
    .describe(
      'Files this one was made from; the card lists their hashes, so that evaluations know what the model has seen.',
    ),
});
export type DataSource = z.infer<typeof dataSourceSchema>;

export const samplerSchema = z.strictObject({
  mode: z
    .enum(['negatives', 'window', 'list', 'as-is', 'stratified', 'quantiles'])
    .default('negatives')
    .describe(
      'Passages of a list that a step sees. negatives: positives with sampled negatives; window: the first `depth`; list: `size` sampled from the first `depth`; as-is: all; stratified: all relevant passages and `negatives` others by the teacher’s scores, the `hardest` and one from each stratum of the rest; quantiles: `size` passages at evenly spaced quantiles of the teacher’s scores.',
    ),
  positives: z.number().int().min(1).default(1).describe('Mode negatives: number of relevant passages.'),
  negatives: z
    .number()
    .int()
    .min(1)
    .default(7)
    .describe('Modes negatives and stratified: largest number of other passages; negatives draws them at random.'),
  repeatNegatives: z
    .boolean()
    .optional()
    .describe('Mode negatives: draw the passages of a list that has fewer again, up to `negatives`; no by default.'),
  depth: z
    .number()
    .int()
    .min(2)
    .default(50)
    .describe('Modes window and list: number of ranks that passages are taken from.'),
  size: z
    .number()
    .int()
    .min(2)
    .optional()
    .describe('Modes list and quantiles: number of passages to take; without it, `depth` passages of the whole list.'),
  hardest: z
    .number()
    .int()
    .min(0)
    .default(2)
    .describe('Mode stratified: number of the other passages that are those with the highest teacher scores.'),
  negativeRanks: z
    .tuple([z.number().int().min(1), z.number().int().min(1)])
    .optional()
    .describe('Mode negatives: first and last rank that negatives are drawn from.'),
  teacherMargin: z
    .number()
    .optional()
    .describe('Drop negatives whose teacher score is above that of the positive minus this.'),
  teacherRatio: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe('Drop negatives whose teacher score is above this share of the positive’s, such as 0.95.'),
  inBatch: z
    .number()
    .int()
    .min(0)
    .max(1024)
    .default(0)
    .describe(
      'Most passages of the other lists of a step that are appended to each list with label 0: relevant ones first, none that is known as relevant to the query. For objectives that learn from labels.',
    ),
  equalNegatives: z
    .boolean()
    .default(false)
    .describe(
      'Leave out lists without a relevant passage or a teacher for every objective, so that all of them see the same candidates.',
    ),
});
export type Sampler = z.infer<typeof samplerSchema>;

/** A recipe's `data`: the sources of candidate lists, and how the lists are sampled. */
export const dataSchema = z.strictObject({
  train: z.array(dataSourceSchema).min(1),
  maxLeftOut: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe('Largest share of the rows of a source that may be left out before `train` stops; 0.5 by default.'),
  sampler: samplerSchema.prefault({}),
});
export type Data = z.infer<typeof dataSchema>;
