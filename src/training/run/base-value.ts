import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { writeFileAtomic } from '../../util/files.ts';
import { readJsonFile } from '../../util/json-files.ts';
import type { Validation } from '../measure/validation.ts';
import type { Backbone } from '../step/backbone.ts';
import type { TrainingSessions } from '../step/sessions.ts';

/** Returns a hash of all that decides the untrained model's validation value: its weights, and the validation. */
export function baseKey({ model }: Backbone, { digest }: Validation): string {
  const hash = createHash('sha256').update(digest);
  for (const [name, { bytes }] of model.graph.initializers) hash.update(name).update(bytes);
  return hash.digest('hex');
}

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
 * Returns the untrained model's validation value and stores it beside the run, since a resumed run cannot measure it again.
 * @param files.shared file in which runs of the same untrained model find each other's value.
 */
export async function baseValue(
  validation: Validation,
  sessions: TrainingSessions,
  files: { readonly own: string; readonly resumed: boolean; readonly shared: string | undefined },
): Promise<number> {
  const source = files.resumed ? files.own : files.shared;
  const known = source === undefined ? undefined : await readBase(source);
  const value = known ?? (await validation.value(sessions.score));
  for (const file of [files.own, ...(files.shared ? [files.shared] : [])]) {
    await mkdir(dirname(file), { recursive: true });
    await writeFileAtomic(file, JSON.stringify({ measure: validation.measure, value } satisfies BaseFile));
  }
  return value;
}
