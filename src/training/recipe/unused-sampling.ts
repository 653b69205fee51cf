import type { z } from 'zod';
import { type Sampler, samplerSchema } from '../data/data-schema.ts';

/** Fields of a sampler that each mode reads, in addition to `mode` and `equalNegatives`. */
const READ: Readonly<Record<Sampler['mode'], readonly string[]>> = {
  negatives: ['positives', 'negatives', 'negativeRanks', 'teacherMargin', 'teacherRatio'],
  stratified: ['negatives', 'hardest', 'teacherMargin', 'teacherRatio'],
  window: ['depth'],
  list: ['size', 'depth'],
  quantiles: ['size', 'depth'],
  'as-is': [],
};

const isMode = (value: unknown): value is Sampler['mode'] => typeof value === 'string' && Object.hasOwn(READ, value);

/**
 * Returns a fault for each field of `data.sampler` that has no effect in the mode that is set. Defaults are taken: `--explain` prints them all.
 * @param sampler as typed, without defaults.
 */
export function unusedSampling(sampler: unknown): z.core.$ZodIssueCustom[] {
  if (typeof sampler !== 'object' || sampler === null) return [];
  const fields: Readonly<Record<string, unknown>> = { ...sampler };
  const { mode = 'negatives' } = fields;
  if (!isMode(mode)) return [];
  const known = new Set(Object.values(READ).flat());
  const defaults: Readonly<Record<string, unknown>> = samplerSchema.parse({});
  return Object.keys(fields)
    .filter((field) => known.has(field) && !READ[mode].includes(field) && fields[field] !== defaults[field])
    .map((field) => ({
      code: 'custom',
      path: ['data', 'sampler', field],
      input: fields[field],
      message: `expected only what mode ${mode} reads (${['mode', 'equalNegatives', ...READ[mode]].join(', ')})`,
    }));
}
