import { z } from 'zod';

const prefix = z.string().max(10_000).optional();

/** The fields of model.json about models that read texts apart. */
export const encoderFields = {
  kind: z.enum(['cross-encoder', 'bi-encoder', 'interaction']).optional(),
  /** Texts before every query and every passage. */
  queryPrefix: prefix,
  passagePrefix: prefix,
  /** Of a bi-encoder: a score is the cosine (or dot product) of the vectors times this; 1 by default. */
  scale: z.number().positive().max(1_000_000).optional(),
};
