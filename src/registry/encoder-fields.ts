import { z } from 'zod';
import { POOLING_MODES } from '../util/pooling-modes.ts';

const prefix = z.string().max(10_000).optional();

/** The fields of model.json about models that read texts apart. */
export const encoderFields = {
  kind: z.enum(['cross-encoder', 'bi-encoder', 'interaction']).optional(),
  /** Texts before every query and every passage. */
  queryPrefix: prefix,
  passagePrefix: prefix,
  /** Of a bi-encoder: a score is the cosine (or dot product) of the vectors times this; 1 by default. */
  scale: z.number().positive().max(1_000_000).optional(),
  /** Of a folder to import whose graph gives states of tokens: how they become one vector. The graph that is written has it. */
  pooling: z.enum(POOLING_MODES).optional(),
  /** Of such a folder, or one whose graph gives vectors: whether they get length 1; true by default. */
  normalize: z.boolean().optional(),
};
