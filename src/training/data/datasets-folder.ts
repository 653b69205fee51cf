import { existsSync, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { z } from 'zod';
import { WinnowError } from '../../errors.ts';
import { unreadable } from '../../util/bytes.ts';
import { readJsonFile } from '../../util/json-files.ts';
import type { RecordFormat } from './records.ts';

const KINDS: readonly (readonly [RecordFormat, RegExp])[] = [
  ['parquet', /\.parquet$/i],
  ['jsonl', /\.(jsonl|ndjson)(\.(?:gz|zst))?$/i],
  ['csv', /\.csv(\.(?:gz|zst))?$/i],
  ['tsv', /\.tsv(\.(?:gz|zst))?$/i],
  ['json', /\.json(\.(?:gz|zst))?$/i],
];
/** Files about a data set, not of it. */
const ABOUT = /^(dataset_infos?|dataset_dict|state|metadata|config|README.*)\.jsonl?$/i;
const SPLITS = /(?:^|[/_.-])(train|training|validation|valid|val|dev|test|eval)(?=[/_.-]|$)/i;
/** Folders of a hub data set that name no configuration. */
const PLAIN = /^(data|train|training|validation|valid|val|dev|test|eval|\.)$/i;

const bad = (where: string, expected: string, got: string): WinnowError =>
  new WinnowError('invalid_input', { where, expected, got });

export const recordFormatOf = (path: string): RecordFormat | undefined =>
  ABOUT.test(basename(path)) ? undefined : KINDS.find(([, pattern]) => pattern.test(path))?.[0];

/** Whether a path names the split: `train-00000-of-00002.parquet`, `data/train/0.jsonl`. */
const isOf = (path: string, split: string): boolean =>
  new RegExp(`(?:^|[/_.-])${split.replaceAll(/[^\w]/g, '\\$&')}(?=[/_.-]|$)`, 'i').test(path);

interface DatasetFiles {
  readonly format: RecordFormat;
  readonly files: readonly string[];
}

const inState = z.object({ _data_files: z.array(z.object({ filename: z.string() })).min(1) });

/** Returns the files of one split of a folder that `save_to_disk` wrote, in the order of its `state.json`. */
async function savedFiles(folder: string, split: string): Promise<DatasetFiles> {
  const hasSplits = existsSync(join(folder, 'dataset_dict.json'));
  const own = hasSplits ? join(folder, split) : folder;
  const state = join(own, 'state.json');
  if (hasSplits && !existsSync(state)) throw bad(folder, `a folder of the split ${split} with its state.json`, 'none');
  const read = inState.safeParse(await readJsonFile(state));
  if (!read.success) throw bad(state, '`_data_files`, as save_to_disk writes it', 'another document');
  const files = read.data._data_files.map(({ filename }) => join(own, basename(filename)));
  return { format: 'arrow', files };
}

/** Whether a path names an Arrow or Feather file. */
export const isArrow = (path: string): boolean =>
  /\.(arrow|feather)$/i.test(path) && statSync(path, { throwIfNoEntry: false })?.isFile() === true;

const isSaved = (folder: string): boolean =>
  ['dataset_dict.json', 'state.json'].some((file) => existsSync(join(folder, file)));

function refuse(folder: string, files: readonly string[]): never {
  if (files.some((file) => file.endsWith('.arrow')))
    throw bad(
      folder,
      'the folder that save_to_disk wrote, with state.json or dataset_dict.json',
      'Arrow files without either',
    );
  throw bad(folder, 'Parquet, JSON lines, CSV or TSV files', files.slice(0, 5).join(', ') || 'an empty folder');
}

/**
 * Returns the files of one split of a data set in the layout of the Hugging Face hub, in the order of their names, and their format; or
 * those of a folder that `save_to_disk` of datasets wrote; an Arrow file is its own only one.
 * @throws WinnowError `invalid_input` for a folder without such files, and with several configurations or formats.
 */
export async function datasetFiles(folder: string, split = 'train'): Promise<DatasetFiles> {
  if (isArrow(folder)) return { format: 'arrow', files: [folder] };
  if (isSaved(folder)) return savedFiles(folder, split);
  const entries = await readdir(folder, { withFileTypes: true, recursive: true }).catch((error) => {
    throw unreadable(folder, error);
  });
  const all = entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
  const readable = all.filter((file) => recordFormatOf(file) !== undefined && !file.startsWith('.'));
  if (readable.length === 0) return refuse(folder, all);
  const named = readable.filter((file) => SPLITS.test(file));
  const files = named.length === 0 ? readable : readable.filter((file) => isOf(file, split));
  if (files.length === 0) throw bad(folder, `files of the split ${split}`, named.slice(0, 5).join(', '));
  const formats = new Set(files.map((file) => recordFormatOf(file)!));
  if (formats.size > 1) throw bad(folder, `one format in the split ${split}`, [...formats].join(' and '));
  const configurations = new Set(files.map((file) => configurationOf(dirname(file))));
  if (configurations.size > 1)
    throw bad(folder, 'the folder of one configuration', `those of ${[...configurations].slice(0, 5).join(', ')}`);
  return { format: [...formats][0]!, files: files.map((file) => join(folder, file)) };
}

const configurationOf = (folder: string): string =>
  folder
    .split('/')
    .filter((part) => !PLAIN.test(part))
    .join('/') || '.';
