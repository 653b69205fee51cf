import type { z } from 'zod';
import { type Sampler, samplerSchema } from '../data/data-schema.ts';
import { createObjective, type ObjectiveSpec } from '../objectives/catalog.ts';

/** Fields that every mode reads. */
const ALWAYS_READ = ['mode', 'equalNegatives', 'inBatch'];

/** Fields of a sampler that each mode reads, in addition to those of all modes. */
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
      message: `expected only what mode ${mode} reads (${[...ALWAYS_READ, ...READ[mode]].join(', ')})`,
    }));
}

interface Batched {
  readonly data: { readonly sampler: Pick<Sampler, 'inBatch'> };
  readonly objective: ObjectiveSpec;
  readonly batch: { readonly queries: number; readonly accumulate: number };
}

/** Returns the objective's name if it learns from a teacher; an objective that does not exist is refused where it is made. */
function taughtObjective(spec: ObjectiveSpec): string | undefined {
  try {
    const { name, needs } = createObjective(spec);
    return needs.teacher ? name : undefined;
  } catch {
    return undefined;
  }
}

/** Returns why in-batch negatives are not possible or have no effect; undefined where they are or are not asked for. */
export function inBatchFault({ data, objective, batch }: Batched): string | undefined {
  const { inBatch } = data.sampler;
  if (inBatch === 0) return undefined;
  const taught = taughtObjective(objective);
  if (taught !== undefined)
    return `expected 0 with ${taught}, which learns from a teacher’s score for every passage: passages of other lists have none`;
  if (batch.queries * batch.accumulate === 1)
    return 'a step of one list has no other lists: set batch.queries or batch.accumulate above 1, or inBatch to 0';
  return undefined;
}
