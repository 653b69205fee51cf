import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { WinnowError } from '../../../errors.ts';
import { unreadable } from '../../../util/bytes.ts';

/** What lies at the path of a specification: a folder with its files (paths inside it), or one file. */
export interface Place {
  readonly path: string;
  readonly folder: string;
  readonly isFile: boolean;
  readonly files: readonly string[];
}

const SUB_FOLDERS = ['qrels'];

async function list(folder: string): Promise<string[]> {
  const names = await readdir(folder);
  const inside = await Promise.all(
    SUB_FOLDERS.filter((sub) => names.includes(sub)).map(async (sub) =>
      (await readdir(join(folder, sub))).map((n) => `${sub}/${n}`),
    ),
  );
  return [...names, ...inside.flat()].sort();
}

export async function lookAt(path: string): Promise<Place> {
  try {
    const isFile = (await stat(path)).isFile();
    const folder = isFile ? dirname(path) : path;
    return { path, folder, isFile, files: await list(folder) };
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** A path of a specification: relative ones start at the data set's folder. */
export const inside = (place: Place, path: string): string => (isAbsolute(path) ? path : join(place.folder, path));

/** A file by the first pattern that matches one, packed or not. */
export function findFile(place: Place, ...patterns: readonly RegExp[]): string | undefined {
  for (const pattern of patterns) {
    const found = place.files.find((file) => pattern.test(file.replace(/\.gz$/, '')));
    if (found !== undefined) return join(place.folder, found);
  }
  return undefined;
}

/** A file that must be there; `given` (relative to the folder) wins over the patterns. */
export function needFile(
  place: Place,
  given: string | undefined,
  expected: string,
  ...patterns: readonly RegExp[]
): string {
  if (given !== undefined) return inside(place, given);
  const found = findFile(place, ...patterns);
  if (found !== undefined) return found;
  const shown = place.files.slice(0, 12).join(', ');
  throw new WinnowError('invalid_input', { where: place.path, expected, got: `a folder with ${shown || 'nothing'}` });
}

export const nameOf = (place: Place): string => basename(place.path).replace(/\.(json|jsonl|txt)(\.gz)?$/i, '');
