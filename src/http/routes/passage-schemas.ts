import { z } from 'zod';
import { documentFields, documentList } from '../dialects/documents.ts';
import { commonFields } from '../dialects/fields.ts';
import { flag } from '../dialects/scalars.ts';

/* Schemas of the routes of kept passages. */

const count = z.number().int().min(0);

/** The most places of documents that an answer names. */
export const MOST_PLACES = 100;

export const passagesRequest = z
  .object({
    model: commonFields.model,
    documents: documentList('What is read and kept: strings, or objects, as in a request to rank them.'),
    rank_fields: documentFields.rank_fields,
    long_passages: commonFields.long_passages,
    max_chunks_per_doc: commonFields.max_chunks_per_doc,
    truncation: flag(
      'false: documents that are too long are left out; else they are cut as a request to rank them cuts them.',
    ),
    truncation_side: commonFields.truncation_side,
    max_tokens_per_doc: commonFields.max_tokens_per_doc,
    truncate_prompt_tokens: commonFields.truncate_prompt_tokens,
    priority: commonFields.priority,
    timeout_ms: commonFields.timeout_ms,
  })
  .meta({ id: 'PassagesRequest' });

const warnings = z.array(z.string()).optional().meta({ description: 'Absent if there is nothing to say.' });

export const passagesAnswer = z
  .object({
    object: z.literal('passages'),
    model: z.string(),
    version: z.string(),
    documents: count.meta({ description: 'Documents sent.' }),
    stored: count.meta({ description: 'Documents that were read now and are kept.' }),
    present: count.meta({ description: 'Documents that were kept already, equal ones in the body included.' }),
    not_kept: count.meta({ description: 'Documents that were read now and for which the cache has no room.' }),
    too_long: count.meta({ description: 'Documents that are longer than the model or the request allows.' }),
    left_out: count.meta({
      description: 'Those of them that were left out, because of `truncation: false`; others were cut.',
    }),
    too_long_at: z
      .array(count)
      .optional()
      .meta({ description: `Places of the first ${MOST_PLACES} documents that are too long.` }),
    tokens: count.meta({ description: 'Tokens that were read now.' }),
    bytes: count.meta({ description: 'What is kept of these documents.' }),
    warnings,
  })
  .meta({ id: 'PassagesAnswer' });
export type PassagesAnswer = z.infer<typeof passagesAnswer>;

const rate = z
  .number()
  .min(0)
  .max(1)
  .nullable()
  .meta({ description: 'hits ÷ (hits + misses); null before the first.' });

const counts = {
  entries: count,
  bytes: count.meta({ description: 'Memory.' }),
  hits: count.meta({ description: 'Since the start.' }),
  misses: count,
  hit_rate: rate,
  evictions: count.meta({ description: 'Entries that left for others.' }),
  unkept: count.meta({ description: 'Values that were too large, or that came while all entries were being read.' }),
};

export const passagesReport = z
  .object({
    object: z.literal('passages'),
    of: z.enum(['all', 'own']).meta({ description: 'Whose entries are counted: all, or those of the caller’s key.' }),
    shared: z.boolean().meta({ description: 'Whether keys answer each other’s requests (`cache.shared`).' }),
    limit_bytes: count.meta({ description: '`cache.passageBytes`.' }),
    ...counts,
    models: z.array(z.object({ model: z.string(), version: z.string(), variant: z.string(), ...counts })),
    file: z
      .object({
        entries: count,
        bytes: count,
        unwritten: count.meta({ description: 'Entries that could not be written.' }),
        damaged: count.meta({ description: 'Entries that were not what was written; they are computed anew.' }),
      })
      .optional()
      .meta({ description: '`cache.passageFile`; for scope admin.' }),
  })
  .meta({ id: 'PassagesReport' });
export type PassagesReport = z.infer<typeof passagesReport>;

/** Strict, because what is misspelled would empty everything. */
export const passagesQuery = z.strictObject({
  model: z
    .string()
    .min(1)
    .max(256)
    .optional()
    .meta({ description: 'As `model` or `model@version`; all models if absent.' }),
});

export const passagesRemoved = z
  .object({
    object: z.literal('passages'),
    of: z.enum(['all', 'own']),
    entries: count.meta({ description: 'Entries that were removed.' }),
    bytes: count.meta({ description: 'Memory that became free.' }),
    warnings,
  })
  .meta({ id: 'PassagesRemoved' });
export type PassagesRemoved = z.infer<typeof passagesRemoved>;
