import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { WinnowError } from '../../../errors.ts';
import { unreadable } from '../../../util/bytes.ts';

/** What is at the path of a specification: a folder with its files (as relative paths), or one file. */
export interface Place {
  readonly path: string;
  readonly folder: string;
  readonly isFile: boolean;
  readonly files: readonly string[];
}

const SUB_FOLDERS = ['qrels'];

async function list(folder: string): Promise<string[]> {
  const names = await readdir(folder);
  const nested = await Promise.all(
    SUB_FOLDERS.filter((sub) => names.includes(sub)).map(async (sub) =>
      (await readdir(join(folder, sub))).map((n) => `${sub}/${n}`),
    ),
  );
  return [...names, ...nested.flat()].sort();
}

/** Lists the files at a path. @throws WinnowError `invalid_input` if it cannot be read. */
export async function lookAt(path: string): Promise<Place> {
  try {
    const isFile = (await stat(path)).isFile();
    const folder = isFile ? dirname(path) : path;
    return { path, folder, isFile, files: await list(folder) };
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** Resolves a path of a specification against the data set's folder. */
export const pathInside = (place: Place, path: string): string => (isAbsolute(path) ? path : join(place.folder, path));

/** Finds a file by the first pattern that matches one, packed or not. */
export function findFile(place: Place, ...patterns: readonly RegExp[]): string | undefined {
  for (const pattern of patterns) {
    const found = place.files.find((file) => pattern.test(file.replace(/\.gz$/, '')));
    if (found !== undefined) return join(place.folder, found);
  }
  return undefined;
}

/**
 * Finds a file as `findFile` does, unless the specification names it (`given`, relative to the folder).
 *
 * @throws WinnowError `invalid_input` if no file matches.
 */
export function needFile(
  place: Place,
  given: string | undefined,
  expected: string,
  ...patterns: readonly RegExp[]
): string {
  if (given !== undefined) return pathInside(place, given);
  const found = findFile(place, ...patterns);
  if (found !== undefined) return found;
  const shown = place.files.slice(0, 12).join(', ');
  throw new WinnowError('invalid_input', { where: place.path, expected, got: `a folder with ${shown || 'nothing'}` });
}

/** Returns the name of a data set: that of its folder, or of its file without extension. */
export const datasetName = (place: Place): string => basename(place.path).replace(/\.(json|jsonl|txt)(\.gz)?$/i, '');
