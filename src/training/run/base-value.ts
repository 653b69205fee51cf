import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { readJson, writeFileAtomic } from '../../util/files.ts';
import type { Validation } from '../measure/validation.ts';
import type { Backbone } from '../step/backbone.ts';
import type { TrainingEngine } from '../step/sessions.ts';

/** Of everything the untrained model's value depends on: its weights, and what they are measured by. */
export function baseKey({ model }: Backbone, { digest }: Validation): string {
  const hash = createHash('sha256').update(digest);
  for (const [name, { bytes }] of model.graph.initializers) hash.update(name).update(bytes);
  return hash.digest('hex');
}

interface BaseFile {
  readonly measure: string;
  readonly value: number;
}

/** Undefined where nothing is there yet. */
async function knownBase(file: string): Promise<number | undefined> {
  const known = (await readJson(file).catch(() => undefined)) as Partial<BaseFile> | undefined;
  return typeof known?.value === 'number' ? known.value : undefined;
}

/**
 * What the untrained model gets; kept beside the run, since a resumed run cannot measure it again.
 * @param shared where runs that start from the same model find each other's
 */
export async function baseValue(
  validation: Validation,
  engine: TrainingEngine,
  at: { readonly own: string; readonly resumed: boolean; readonly shared: string | undefined },
): Promise<number> {
  const source = at.resumed ? at.own : at.shared;
  const known = source === undefined ? undefined : await knownBase(source);
  const value = known ?? (await validation.value(engine.score));
  for (const file of [at.own, ...(at.shared ? [at.shared] : [])]) {
    await mkdir(dirname(file), { recursive: true });
    await writeFileAtomic(file, JSON.stringify({ measure: validation.measure, value } satisfies BaseFile));
  }
  return value;
}
