import { createHash } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { basename, isAbsolute, join, resolve } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { sha256File, writeFileAtomic } from '../../util/files.ts';
import { readJsonFile } from '../../util/json-files.ts';
import { createRandom, deriveSeed } from '../../util/random.ts';
import type { Dataset, DatasetSpec } from '../formats/dataset.ts';
import { loadDataset } from '../formats/load-dataset.ts';
import { splitEmpty } from '../formats/qrels.ts';
import type { Queries } from '../formats/topics.ts';
import { someIds } from '../measures/coverage.ts';
import type { Qrels } from '../measures/ranked.ts';
import type { SetSpec } from './suite-schema.ts';

/** A set that is open, with the queries the suite scores. */
export interface OpenSet {
  readonly name: string;
  readonly spec: SetSpec;
  readonly data: Dataset;
  readonly queries: Queries;
  readonly qrels: Qrels;
  readonly depth: number;
  /** sha256 → name of each file of the set. */
  readonly hashes: ReadonlyMap<string, string>;
  /** Judged queries that are not measured or count 0, a line for each reason. */
  readonly notes: readonly string[];
}

/** A part of a suite that was left out, and why. */
export interface LeftOut {
  readonly what: string;
  readonly reason: string;
}

export const isLeftOut = (value: object): value is LeftOut => 'reason' in value;

/** Resolves a path of the suite's file against the folder of that file. */
export const pathIn = (folder: string, path: string): string => (isAbsolute(path) ? path : resolve(folder, path));

function datasetSpec(spec: SetSpec, folder: string): DatasetSpec {
  const { format, split, field, topics, qrels, corpus, relevanceLevel, dropSelfHits, measures } = spec;
  const given = { format, split, field, queries: topics, qrels, corpus, relevanceLevel, dropSelfHits, measures };
  const known = Object.entries(given).filter(([, value]) => value !== undefined);
  return { path: pathIn(folder, spec.path), name: spec.name, ...Object.fromEntries(known) };
}

interface FileEntry {
  readonly bytes: number;
  readonly modified: number;
  readonly sha256: string;
}

/** Returns sha256 → name of each file. Hashes are kept in `cache` by size and time, so that a collection of gigabytes is read once. */
async function hashesOf(files: readonly string[], cache: string): Promise<Map<string, string>> {
  const known = (existsSync(cache) ? await readJsonFile(cache) : {}) as Record<string, FileEntry>;
  const hashes = new Map<string, string>();
  let changed = false;
  for (const file of files) {
    const { size: bytes, mtimeMs: modified } = statSync(file);
    let entry = known[file];
    if (entry?.bytes !== bytes || entry.modified !== modified) {
      entry = { bytes, modified, sha256: await sha256File(file) };
      known[file] = entry;
      changed = true;
    }
    hashes.set(entry.sha256, basename(file));
  }
  if (changed) await writeFileAtomic(cache, `${JSON.stringify(known, null, 2)}\n`);
  return hashes;
}

/** Draws `count` of the queries by the seed, in their order; all if there are not more. */
function drawQueries(judged: readonly string[], count: number | undefined, seed: number, name: string): string[] {
  if (count === undefined || count >= judged.length) return [...judged];
  const random = createRandom(deriveSeed(seed, name, 'queries'));
  const drawn = new Set<number>();
  while (drawn.size < count) drawn.add(random.below(judged.length));
  return judged.filter((_, i) => drawn.has(i));
}

/** Returns the judged queries that have a text, and a note on those that have none. */
function judgedQueries({ qrels, queries }: Dataset): { readonly qids: readonly string[]; readonly notes: string[] } {
  const { qrels: judged, empty } = splitEmpty(qrels);
  const [qids, textless] = [
    [...judged.keys()].filter((q) => queries.has(q)),
    [...judged.keys()].filter((q) => !queries.has(q)),
  ];
  const notes: string[] = [];
  if (textless.length > 0)
    notes.push(
      `${textless.length} of ${judged.size} judged queries have no text and are not measured: ${someIds(textless)}`,
    );
  if (empty.length > 0)
    notes.push(`${empty.length} queries of the qrels have no judgement and are ignored: ${someIds(empty)}`);
  return { qids, notes };
}

interface OpenOptions {
  /** Folder of the suite's file. */
  readonly folder: string;
  readonly out: string;
  readonly seed: number;
  readonly depth: number;
}

/**
 * Opens a set, or says why it is left out: nothing at its path or at that of its run, or no texts.
 *
 * @throws WinnowError `invalid_input` for a damaged set and for one without judged queries.
 */
export async function openSet(spec: SetSpec, options: OpenOptions): Promise<OpenSet | LeftOut> {
  const { path, firstStage } = spec;
  const needed = [path, ...(typeof firstStage === 'object' && 'run' in firstStage ? [firstStage.run] : [])];
  const absent = needed.find((one) => !existsSync(pathIn(options.folder, one)));
  if (absent !== undefined) return { what: spec.name, reason: `nothing at ${absent}` };
  const data = await loadDataset(datasetSpec(spec, options.folder));
  if (data.passages.size === 0) return { what: spec.name, reason: `no texts at ${spec.path}` };
  const { qids: judged, notes } = judgedQueries(data);
  if (judged.length === 0)
    throw new WinnowError('invalid_input', {
      where: spec.path,
      expected: 'at least 1 judged query',
      got: ['0', ...notes].join('; '),
    });
  const qids = drawQueries(judged, spec.queries, options.seed, data.name);
  return {
    name: spec.name,
    spec,
    data,
    queries: new Map(qids.map((qid) => [qid, data.queries.get(qid)!])),
    qrels: new Map(qids.map((qid) => [qid, data.qrels.get(qid)!])),
    depth: spec.depth ?? options.depth,
    hashes: await hashesOf(data.files, join(options.out, 'hashes.json')),
    notes,
  };
}

/** Returns a short fingerprint of any JSON value. */
export const fingerprint = (value: unknown): string =>
  createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 24);
