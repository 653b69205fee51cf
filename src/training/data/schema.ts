import { z } from 'zod';
import { spelled } from '../../util/spelling.ts';

/** What a recipe says about where lists come from. */
export const DATA_FORMATS = ['rank_llm', 'trec', 'triples', 'teacher_tsv', 'jsonl', 'beir', 'wikiqa', 'squad'] as const;
export type DataFormat = (typeof DATA_FORMATS)[number];

export const dataSourceSchema = z.strictObject({
  format: z.enum(DATA_FORMATS).describe('What the lists are kept in.'),
  path: z.string().describe('File or folder of the lists (run, triples, JSONL, BEIR folder…).'),
  qrels: z.string().optional().describe('Judgements, TREC or TSV.'),
  candidates: z.string().optional().describe('BEIR, WikiQA, SQuAD: run file the candidate lists are taken from.'),
  queries: z.string().optional().describe('TSV of query id and text, where the lists hold ids.'),
  collection: z.string().optional().describe('TSV or JSONL of passage id and text, where the lists hold ids.'),
  teacher: z
    .string()
    .optional()
    .describe(
      'Run file, or rank_llm JSON, whose scores are the teacher’s; by default the lists’ own scores, if they have any.',
    ),
  teacherValue: z
    .enum(['score', 'rank'])
    .default('score')
    .describe('What of a teacher’s run file teaches: its scores (higher is better), or its ranks (1 is best).'),
  split: z.string().optional().describe('BEIR, WikiQA: which part (`train`, `dev`, `test`).'),
  randomNegatives: z
    .number()
    .int()
    .min(0)
    .default(0)
    .describe('Passages drawn from the whole collection and put behind each list.'),
  addRelevant: z.boolean().default(false).describe('Relevant passages the candidates miss are put behind each list.'),
  teacherPositives: z
    .number()
    .int()
    .min(0)
    .default(0)
    .describe('Queries without judgements: so many of the teacher’s best passages count as relevant.'),
  excludeJudged: z.string().optional().describe('Judgements of held-out queries: their queries are not trained on.'),
  teacherScale: z.number().positive().default(1).describe('Teacher scores are multiplied by this.'),
  minRelevance: z.number().default(1).describe('Grade from which a passage is relevant.'),
  weight: z.number().positive().default(1).describe('Share among several sources.'),
  licence: spelled(z.string().optional().describe('Of the data, for the card.'), { key: 'license' }),
  madeFrom: z
    .array(z.string())
    .optional()
    .describe('Files this one was made from: their hashes go on the card, so that evaluations know what was seen.'),
});
export type DataSource = z.infer<typeof dataSourceSchema>;

export const samplerSchema = z.strictObject({
  mode: z
    .enum(['negatives', 'window', 'list', 'as-is'])
    .default('negatives')
    .describe(
      'negatives: positives with sampled negatives; window: the first `depth` by rank; list: `size` sampled from the first `depth`; as-is: lists as they are.',
    ),
  positives: z.number().int().min(1).default(1).describe('Relevant passages `negatives` puts into a list.'),
  negatives: z.number().int().min(1).default(7).describe('Passages drawn against them.'),
  depth: z.number().int().min(2).default(50).describe('Ranks that `window` and `list` look at.'),
  size: z
    .number()
    .int()
    .min(2)
    .optional()
    .describe('Passages `list` samples; where not given, `depth` of the whole list.'),
  negativeRanks: z
    .tuple([z.number().int().min(1), z.number().int().min(1)])
    .optional()
    .describe('Ranks negatives are drawn from.'),
  teacherMargin: z.number().optional().describe('Drop negatives the teacher scores above positive − this.'),
  teacherRatio: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe('Drop negatives the teacher scores above this share of the positive (0.95).'),
  equalNegatives: z
    .boolean()
    .default(false)
    .describe(
      'Every objective sees the same candidates: lists without a relevant passage or a teacher are left out for all.',
    ),
});
export type Sampler = z.infer<typeof samplerSchema>;

/** A recipe's `data`: where candidate lists come from and how they are sampled. */
export const dataSchema = z.strictObject({
  train: z.array(dataSourceSchema).min(1),
  sampler: samplerSchema.prefault({}),
});
export type Data = z.infer<typeof dataSchema>;
