import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { WinnowError } from '../../../errors.ts';
import { unreadable } from '../../../util/bytes.ts';
import { collectionFiles } from '../passages.ts';

/** What is at the path of a specification: a folder with its files (as relative paths) and folders, or one file. */
export interface Place {
  readonly path: string;
  readonly folder: string;
  readonly isFile: boolean;
  readonly files: readonly string[];
  readonly folders: readonly string[];
}

/** Folders whose files belong to the layout: BEIR's judgements, and the configurations of a data set of Hugging Face. */
const SUB_FOLDERS = ['qrels', 'corpus', 'queries', 'default', 'data'];

async function list(folder: string): Promise<Pick<Place, 'files' | 'folders'>> {
  const names = (await readdir(folder)).sort();
  const kinds = await Promise.all(names.map(async (name) => await stat(join(folder, name)).catch(() => undefined)));
  const folders = names.filter((_, i) => kinds[i]?.isDirectory() === true);
  const nested = await Promise.all(
    SUB_FOLDERS.filter((sub) => folders.includes(sub)).map(async (sub) =>
      (await readdir(join(folder, sub))).map((n) => `${sub}/${n}`),
    ),
  );
  return { files: [...names.filter((name) => !folders.includes(name)), ...nested.flat()].sort(), folders };
}

/** Lists the files at a path. @throws WinnowError `invalid_input` if it cannot be read. */
export async function lookAt(path: string): Promise<Place> {
  try {
    const isFile = !(await stat(path)).isDirectory();
    const folder = isFile ? dirname(path) : path;
    return { path, folder, isFile, ...(await list(folder)) };
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** Describes what is in a folder, for errors, and how to convert formats that are not read. */
export function contentOf({ files, folders }: Place): string {
  const shown =
    [...files, ...folders.filter((name) => !SUB_FOLDERS.includes(name)).map((name) => `${name}/`)]
      .slice(0, 12)
      .join(', ') || 'nothing';
  const binary = files.find((file) => /\.arrow$/i.test(file) || /^(dataset_dict|state)\.json$/.test(file));
  const what = /json$/.test(binary ?? '') ? 'a data set of `save_to_disk`' : binary;
  const cure = `; ${what} is not read: write its parts by \`to_json\` or \`to_parquet\``;
  return `a folder with ${shown}${binary === undefined ? '' : cure}`;
}

/** Resolves a path of a specification against the data set's folder. */
export const pathInside = (place: Place, path: string): string => (isAbsolute(path) ? path : join(place.folder, path));

/** Finds the files that the first pattern with any matches, packed or not. */
export function findFiles(place: Place, ...patterns: readonly RegExp[]): string[] {
  for (const pattern of patterns) {
    const found = place.files.filter((file) => pattern.test(file.replace(/\.(gz|zst)$/, '')));
    if (found.length > 0) return found.map((file) => join(place.folder, file));
  }
  return [];
}

/** Finds a file by the first pattern that matches one, packed or not. */
export const findFile = (place: Place, ...patterns: readonly RegExp[]): string | undefined =>
  findFiles(place, ...patterns)[0];

const missing = (place: Place, expected: string): WinnowError =>
  new WinnowError('invalid_input', { where: place.path, expected, got: contentOf(place) });

/**
 * Finds a file as `findFile` does, unless the specification names it (`given`, relative to the folder).
 *
 * @throws WinnowError `invalid_input` if no file matches.
 */
export const needFile = (
  place: Place,
  given: string | undefined,
  expected: string,
  ...patterns: readonly RegExp[]
): string => needFiles(place, given, expected, ...patterns)[0]!;

/** Finds all files of the first pattern with any, as `needFile` finds the first: parts of one table. */
export function needFiles(
  place: Place,
  given: string | undefined,
  expected: string,
  ...patterns: readonly RegExp[]
): string[] {
  const found = given === undefined ? findFiles(place, ...patterns) : [pathInside(place, given)];
  if (found.length > 0) return found;
  throw missing(place, expected);
}

/**
 * Finds a file as `needFile` does, and refuses a choice among several: the first by name may be that of another set.
 *
 * @throws WinnowError `invalid_input` if no file matches, or more than one.
 */
export function needOneFile(
  place: Place,
  given: string | undefined,
  expected: string,
  ...patterns: readonly RegExp[]
): string {
  const [first, second] = given === undefined ? findFiles(place, ...patterns) : [pathInside(place, given)];
  if (first === undefined) throw missing(place, expected);
  if (second === undefined) return first;
  const got = `${basename(first)} and ${basename(second)}; name one of them, or a split`;
  throw new WinnowError('invalid_input', { where: place.path, expected: `one file ${expected}`, got });
}

/**
 * Finds the files of a collection, unless the specification names them.
 *
 * @throws WinnowError `invalid_input` if no file matches.
 */
export async function needCollection(
  place: Place,
  given: string | readonly string[] | undefined,
  expected: string,
  ...patterns: readonly RegExp[]
): Promise<string[]> {
  if (given === undefined) {
    const found = findFiles(place, ...patterns);
    if (found.length > 0) return found;
    throw missing(place, expected);
  }
  return collectionFiles([given].flat().map((path) => pathInside(place, path)));
}

/** Returns the path of a layout that has one file. @throws WinnowError `invalid_input` for several. */
export function onlyPath(given: string | readonly string[] | undefined): string | undefined {
  const [first, second] = [given ?? []].flat();
  if (second === undefined) return first;
  throw new WinnowError('invalid_input', { where: 'corpus', expected: 'one file', got: `${first} and ${second}` });
}

/** Returns the name of a data set: that of its folder, or of its file without extension. */
export const datasetName = (place: Place): string =>
  basename(place.path).replace(/\.(json|jsonl|txt)(\.(?:gz|zst))?$/i, '');
