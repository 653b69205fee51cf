import { isObject } from '../../util/json-files.ts';
import type { SuiteModel } from './suite-models.ts';
import type { SetSpec } from './suite-schema.ts';

interface Source {
  readonly names: readonly string[];
  readonly sha256: string | undefined;
}

/** `training.data` of a manifest: names, or objects with `file`, `name` and `sha256`. */
function sourcesOf(model: SuiteModel): Source[] {
  const data = model.training?.data;
  return (Array.isArray(data) ? data : []).flatMap((entry): Source[] => {
    if (typeof entry === 'string') return [{ names: [entry], sha256: undefined }];
    if (!isObject(entry)) return [];
    const names = [entry.name, entry.file, entry.dataset].filter((value) => typeof value === 'string');
    return [{ names, sha256: typeof entry.sha256 === 'string' ? entry.sha256 : undefined }];
  });
}

/** Words of a name, for comparison: `TREC-DL 2021` and `trec_dl_2021.jsonl` agree. */
const words = (text: string): string =>
  ` ${text
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, ' ')
    .trim()} `;

/** Returns why a set does not count as unseen for a system if the suite says so. */
export const saidSeen = ({ seen }: Pick<SetSpec, 'seen'>, ...names: readonly string[]): string | undefined =>
  seen === true || (Array.isArray(seen) && names.some((name) => seen.includes(name))) ? 'the suite says so' : undefined;

/**
 * Why a set does not count as unseen for a model, or nothing: a file of the set was training data by its hash, the manifest names it among
 * its training data, or the suite says so.
 *
 * @param hashes sha256 → file of the set.
 */
export function whySeen(
  set: Pick<SetSpec, 'name' | 'trainedAs' | 'seen'>,
  hashes: ReadonlyMap<string, string>,
  system: string,
  model: SuiteModel,
): string | undefined {
  const said = saidSeen(set, system, model.key);
  if (said !== undefined) return said;
  const aliases = (set.trainedAs ?? [set.name]).map(words);
  for (const { names, sha256 } of sourcesOf(model)) {
    const file = sha256 === undefined ? undefined : hashes.get(sha256);
    if (file !== undefined) return `${file} is among its training data (same sha256)`;
    const named = names.find((text) => aliases.some((alias) => words(text).includes(alias)));
    if (named !== undefined) return `its manifest names “${named}” as training data`;
  }
  return undefined;
}
