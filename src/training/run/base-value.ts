import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { writeFileAtomic } from '../../util/files.ts';
import { readJsonFile } from '../../util/json-files.ts';
import type { Validation } from '../measure/validation.ts';
import type { Backbone } from '../step/backbone.ts';

/** Returns a hash of a backbone's weights, those of a new head included, and of what else decides the scores of an interaction model. */
export function weightsHash({ model, interaction }: Backbone): string {
  const hash = createHash('sha256');
  if (interaction) hash.update(JSON.stringify([interaction.kept, interaction.settings]));
  for (const [name, { bytes }] of model.graph.initializers) hash.update(name).update(bytes);
  return hash.digest('hex');
}

/** Returns a hash of all that decides the untrained model's validation value: its weights, and the validation. */
export const baseKey = (weights: string, { digest }: Validation): string =>
  createHash('sha256').update(digest).update(weights).digest('hex');

interface BaseFile {
  readonly measure: string;
  readonly value: number;
}

/** Reads a stored value; undefined where the file is absent or does not parse. */
async function readBase(file: string): Promise<number | undefined> {
  const known = (await readJsonFile(file).catch(() => undefined)) as Partial<BaseFile> | undefined;
  return typeof known?.value === 'number' ? known.value : undefined;
}

/**
 * Returns the untrained model's validation value and stores it beside the run, so that a resumed run does not measure it again.
 * @param files.shared file in which runs of the same untrained model find each other's value.
 * @param measure measures the untrained model.
 */
export async function baseValue(
  validation: Validation,
  measure: () => Promise<number>,
  files: { readonly own: string; readonly resumed: boolean; readonly shared: string | undefined },
): Promise<number> {
  const source = files.resumed ? files.own : files.shared;
  const known = source === undefined ? undefined : await readBase(source);
  const value = known ?? (await measure());
  for (const file of [files.own, ...(files.shared ? [files.shared] : [])]) {
    await mkdir(dirname(file), { recursive: true });
    await writeFileAtomic(file, JSON.stringify({ measure: validation.measure, value } satisfies BaseFile));
  }
  return value;
}
