import type { Stats } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, WinnowError } from '../errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import type { JsonObject } from '../util/json-files.ts';
import { DEFAULT_LIMITS, type FolderLimits, readJsonObject } from './folder-files.ts';
import { excerpt, isName, NAME_RULE } from './model-names.ts';

export const LABELS_FILE = 'labels.json';

/** The label for requests without a version or label. */
export const STABLE = 'stable';

const MAX_LABELS = 256;

function refuse(expected: string, got: string, field: string): never {
  throw new WinnowError('invalid_manifest', { file: LABELS_FILE, expected, got: excerpt(got), field: excerpt(field) });
}

/** Returns the facts of a file; undefined only where there is none. A file that cannot be looked at is not an absent one. */
async function factsOf(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/**
 * Reads a file that says something about a registry folder or a model; undefined without the file.
 * @throws WinnowError `invalid_manifest`.
 */
async function readStatement(folder: string, file: string, limits: FolderLimits): Promise<JsonObject | undefined> {
  const path = join(folder, file);
  const facts = await factsOf(path);
  if (!facts) return undefined;
  if (!facts.isFile())
    throw new WinnowError('invalid_manifest', { file, expected: 'a regular file', got: kindOf(facts), field: 'type' });
  return readJsonObject(path, file, limits);
}

/** Names what stands where a file should; a link is copied with what it points to (`cp -L`). */
const kindOf = (facts: Stats) =>
  facts.isSymbolicLink() ? 'a symbolic link; replace it by a copy of its file (`cp -L`)' : 'something else';

/** Whether an error of the file system says that there is no such file. */
export const isMissing = (error: unknown): boolean =>
  ['ENOENT', 'ENOTDIR'].includes(String((error as NodeJS.ErrnoException).code));

/**
 * Reads `labels.json` of a model: version by label; empty without the file. A numeric version counts as its digits.
 * @throws WinnowError `invalid_manifest`.
 */
export async function readLabels(
  modelFolder: string,
  limits: FolderLimits = DEFAULT_LIMITS,
): Promise<ReadonlyMap<string, string>> {
  const entries = Object.entries((await readStatement(modelFolder, LABELS_FILE, limits)) ?? {});
  if (entries.length > MAX_LABELS) refuse(`at most ${MAX_LABELS} labels`, String(entries.length), 'labels');
  return new Map(
    entries.map(([label, value]) => {
      const version = Number.isSafeInteger(value) ? String(value) : value;
      if (!isName(label)) refuse(`labels of ${NAME_RULE}`, JSON.stringify(label), 'labels');
      if (typeof version !== 'string' || !isName(version)) refuse('a version', describe(value), label);
      return [label, version] as const;
    }),
  );
}

/** The file in the registry folder that names the model for requests which name none. */
export const DEFAULT_FILE = 'default.json';

/**
 * Reads `default.json` of a registry folder, `{"model": "name"}`; undefined without the file.
 * @throws WinnowError `invalid_manifest`.
 */
export async function readDefault(
  registryFolder: string,
  limits: FolderLimits = DEFAULT_LIMITS,
): Promise<string | undefined> {
  const statement = await readStatement(registryFolder, DEFAULT_FILE, limits);
  if (!statement) return undefined;
  const { model } = statement;
  if (typeof model !== 'string' || !isName(model))
    throw new WinnowError('invalid_manifest', {
      file: DEFAULT_FILE,
      expected: 'the name of a model',
      got: excerpt(describe(model)),
      field: 'model',
    });
  return model;
}

/** The file in the registry folder that gives cascades of its models names. */
export const CASCADES_FILE = 'cascades.json';

/** Reads `cascades.json` of a registry folder as it stands there; undefined without the file. @throws WinnowError `invalid_manifest`. */
export const readCascadesFile = (registryFolder: string): Promise<JsonObject | undefined> =>
  readStatement(registryFolder, CASCADES_FILE, DEFAULT_LIMITS);

/** Returns the files of a registry folder that say which versions are released, as far as they are there and cannot be read. */
export async function unreadableReleases(
  registryFolder: string,
): Promise<readonly { readonly path: string; readonly reason: string }[]> {
  const folders = await readdir(registryFolder, { withFileTypes: true }).catch(() => []);
  const models = folders.filter((entry) => entry.isDirectory() && isName(entry.name)).map(({ name }) => name);
  const files = [
    { path: join(registryFolder, DEFAULT_FILE), read: () => readDefault(registryFolder) },
    ...models.map((name) => ({
      path: join(registryFolder, name, LABELS_FILE),
      read: () => readLabels(join(registryFolder, name)),
    })),
  ];
  const results = await Promise.allSettled(files.map(({ read }) => read()));
  return results.flatMap((result, i) =>
    result.status === 'rejected' ? [{ path: files[i]!.path, reason: (result.reason as Error).message }] : [],
  );
}

/** Replaces `labels.json` atomically. @throws WinnowError `invalid_input` if the folder cannot be written. */
async function writeLabels(modelFolder: string, labels: ReadonlyMap<string, string>): Promise<void> {
  const path = join(modelFolder, LABELS_FILE);
  const sorted = [...labels].sort(([a], [b]) => (a < b ? -1 : 1));
  try {
    await writeFileAtomic(path, `${JSON.stringify(Object.fromEntries(sorted), null, 2)}\n`);
  } catch (error) {
    const got = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
    throw new WinnowError(
      'invalid_input',
      { where: path, expected: 'a folder that can be written', got },
      { cause: error },
    );
  }
}

/** Sets one label on disk and keeps the others. Returns all labels. @throws WinnowError `invalid_manifest`, `invalid_input`. */
export async function putLabel(
  modelFolder: string,
  label: string,
  version: string,
): Promise<ReadonlyMap<string, string>> {
  const labels = new Map(await readLabels(modelFolder)).set(label, version);
  await writeLabels(modelFolder, labels);
  return labels;
}
