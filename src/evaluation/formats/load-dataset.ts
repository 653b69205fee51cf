import { join } from 'node:path';
import { describe, WinnowError } from '../../errors.ts';
import { STDIN } from '../../util/bytes.ts';
import { hasJsonLines, isJson } from '../../util/json-files.ts';
import { type Dataset, type DatasetFormat, type DatasetSpec, rulesOf } from './dataset.ts';
import { beir } from './datasets/beir.ts';
import { cranfield } from './datasets/cranfield.ts';
import { contentOf, datasetName, lookAt, type Place, pathInside } from './datasets/dataset-folder.ts';
import type { Loader } from './datasets/loader.ts';
import { lotte } from './datasets/lotte.ts';
import { msmarco } from './datasets/msmarco.ts';
import { rankLlm } from './datasets/rank-llm.ts';
import { smart } from './datasets/smart.ts';
import { squad } from './datasets/squad.ts';
import { trec } from './datasets/trec.ts';
import { wikiqa } from './datasets/wikiqa.ts';
import type { PassageStore } from './passage-store.ts';
import { openPassages } from './passages.ts';
import { readRun } from './run.ts';

/** Layouts in the order of detection: the most specific first. */
const LOADERS: Readonly<Record<DatasetFormat, Loader>> = {
  beir,
  lotte,
  msmarco,
  cranfield,
  wikiqa,
  squad,
  smart,
  'rank-llm': rankLlm,
  trec,
};

const isFormat = (name: string): name is DatasetFormat => Object.hasOwn(LOADERS, name);

const FORMATS = Object.keys(LOADERS).filter(isFormat);

const formatAt = (place: Place): DatasetFormat | undefined => FORMATS.find((format) => LOADERS[format].detect(place));

/** Most sub-folders that are searched on each level. */
const FOLDERS = 200;

async function nestedSets(place: Place, levels: number): Promise<string[]> {
  const found: string[] = [];
  for (const name of place.folders.slice(0, FOLDERS)) {
    const inner = await lookAt(join(place.folder, name)).catch(() => undefined);
    if (inner === undefined) continue;
    if (formatAt(inner) !== undefined) found.push(name);
    else if (levels > 1) found.push(...(await nestedSets(inner, levels - 1)).map((sub) => `${name}/${sub}`));
  }
  return found;
}

/**
 * Returns the data sets below a folder that is not a data set itself, such as CQADupStack's twelve forums or LoTTE's `writing/test`. Paths
 * are relative to the folder.
 */
export async function setsInside(path: string): Promise<string[]> {
  const place = await lookAt(path);
  return place.isFile || formatAt(place) !== undefined ? [] : nestedSets(place, 2);
}

async function refuseSeveral(place: Place): Promise<void> {
  const sets = await setsInside(place.path);
  if (sets.length === 0) return;
  throw new WinnowError('invalid_input', {
    where: place.path,
    expected: 'one data set (a suite also takes a folder of several, and measures them as a group)',
    got: `a folder that holds ${sets.length === 1 ? '1 set' : `${sets.length} sets`}: ${sets.join(', ')}; give one of them`,
  });
}

async function detect(place: Place): Promise<DatasetFormat> {
  const found = formatAt(place);
  if (found !== undefined) return found;
  await refuseSeveral(place);
  const shapes = Object.values(LOADERS).map((loader) => `\n  ${loader.shape}`);
  throw new WinnowError('invalid_input', {
    where: place.path,
    expected: `one of these layouts:${shapes.join('')}\n`,
    got: place.isFile ? 'another file' : contentOf(place),
  });
}

/** Returns the layout of the data set in a folder; undefined for a file. @throws WinnowError `invalid_input` for another folder. */
export async function datasetFormat(path: string): Promise<DatasetFormat | undefined> {
  const place = await lookAt(path);
  return place.isFile ? undefined : detect(place);
}

async function formatOf(place: Place, { format: given, corpus }: DatasetSpec): Promise<DatasetFormat> {
  if (given === undefined) return detect(place);
  if (isFormat(given)) {
    if (corpus === undefined && !LOADERS[given].detect(place)) await refuseSeveral(place);
    return given;
  }
  throw new WinnowError('invalid_input', {
    where: place.path,
    expected: `format to be one of ${FORMATS.join(', ')}`,
    got: describe(given),
  });
}

/**
 * Loads a test collection from a path or a specification. The layout follows from the files; the rules of the set (least relevant grade,
 * self-hits, usual measures) follow from its name, which is that of the folder or file unless the specification gives one.
 *
 * @throws WinnowError `invalid_input` that names the file (and line), what was expected and what was found.
 */
export async function loadDataset(spec: string | DatasetSpec): Promise<Dataset> {
  const given: DatasetSpec = typeof spec === 'string' ? { path: spec } : spec;
  const place = await lookAt(given.path);
  const format = await formatOf(place, given);
  const loaded = await LOADERS[format].load(place, given);
  const name = given.name ?? datasetName(place);
  const file = given.candidates;
  const candidates =
    file === undefined || loaded.candidates !== undefined ? loaded.candidates : await readRun(pathInside(place, file));
  return { ...loaded, ...rulesOf(name, given), name, format, candidates };
}

/**
 * Opens a collection: files and folders of passages, or the passages of a data set.
 *
 * @throws WinnowError `invalid_input` as `openPassages` and `loadDataset`.
 */
export async function openCollection(path: string | readonly string[]): Promise<PassageStore> {
  const [first, second] = [path].flat();
  if (first === undefined || second !== undefined || first === STDIN) return openPassages(path);
  const place = await lookAt(first);
  const isDataset = place.isFile ? isJson(first) && !(await hasJsonLines(first)) : formatAt(place) !== undefined;
  if (!isDataset && !place.isFile) await refuseSeveral(place);
  return isDataset ? (await loadDataset(first)).passages : openPassages(first);
}
