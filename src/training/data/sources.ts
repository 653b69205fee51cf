import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { sha256File } from '../../util/files.ts';
import { createRandom, deriveSeed } from '../../util/random.ts';
import type { Needs } from '../objectives/needs.ts';
import type { Data, DataFormat, DataSource, Sampler } from './data-schema.ts';
import { withoutDropped } from './drop-list.ts';
import { openIdSource } from './id-source.ts';
import {
  type CandidateList,
  type IdentifiedList,
  type LeftOut,
  type ListSource,
  originOf,
  type RawSource,
  type SkipCount,
  skipCount,
} from './list-types.ts';
import type { PairSet } from './pair-set.ts';
import { isRowFormat } from './row-formats.ts';
import { openRowSource } from './row-source.ts';
import { NOTHING, samples } from './sampler.ts';

type Optional =
  | 'qrels'
  | 'candidates'
  | 'split'
  | 'queries'
  | 'collection'
  | 'randomNegatives'
  | 'addRelevant'
  | 'teacherPositives'
  | 'minRelevance'
  | 'labelScale'
  | 'columns';

const ROWS: readonly Optional[] = ['queries', 'collection'];
const COLUMNS: readonly Optional[] = [...ROWS, 'minRelevance', 'labelScale', 'columns'];
/** Tables may hold ids beside texts, as MS MARCO's top1000 files do. */
const TABLES: readonly Optional[] = [...COLUMNS, 'qrels'];
const SETS: readonly Optional[] = [
  'qrels',
  'candidates',
  'split',
  'queries',
  'collection',
  'randomNegatives',
  'addRelevant',
  'teacherPositives',
  'minRelevance',
];
const OPTIONAL: readonly Optional[] = [...SETS, 'labelScale', 'columns'];

/** Fields that a source of each format may have, in addition to those of all formats. */
export const FIELDS: Readonly<Record<DataFormat, readonly Optional[]>> = {
  triples: ROWS,
  teacher_tsv: ROWS,
  jsonl: COLUMNS,
  json: COLUMNS,
  csv: TABLES,
  tsv: TABLES,
  parquet: TABLES,
  datasets: [...TABLES, 'split'],
  rank_llm: ['qrels', 'randomNegatives', 'teacherPositives', 'minRelevance'],
  trec: ['qrels', 'queries', 'collection', 'randomNegatives', 'addRelevant', 'teacherPositives', 'minRelevance'],
  beir: SETS,
  wikiqa: ['candidates', 'split', 'randomNegatives', 'addRelevant', 'teacherPositives', 'minRelevance'],
  squad: ['candidates', 'collection', 'randomNegatives', 'addRelevant', 'teacherPositives', 'minRelevance'],
};

/** Refuses a source with a field that its format does not read. @throws WinnowError `invalid_input`. */
export function refuseUnusedFields(source: DataSource): void {
  const given = OPTIONAL.filter(
    (field) => source[field] !== undefined && source[field] !== 0 && source[field] !== false,
  );
  const unused = given.find((field) => !FIELDS[source.format].includes(field));
  if (unused !== undefined)
    throw new WinnowError('invalid_input', {
      where: `data ${source.path}`,
      expected: `only ${FIELDS[source.format].join(', ')} with format ${source.format}`,
      got: `\`${unused}\`, which would have no effect`,
    });
}

/** Opens one source without sampling. @throws WinnowError `invalid_input` for fields that the format does not read. */
export async function openRaw(source: DataSource, folder: string): Promise<RawSource> {
  refuseUnusedFields(source);
  const { format, drop } = source;
  const opened = isRowFormat(format)
    ? await openRowSource({ ...source, format }, folder)
    : await openIdSource({ ...source, format }, folder);
  return drop === undefined ? opened : withoutDropped(opened, resolve(folder, drop));
}

/** Resolves a file that data was made from. @throws WinnowError `invalid_input` where there is no such file. */
function originIn(folder: string, path: string): string {
  const file = resolve(folder, path);
  if (statSync(file, { throwIfNoEntry: false })?.isFile()) return file;
  throw new WinnowError('invalid_input', { where: 'data madeFrom', expected: 'a file', got: path });
}

/** Adds the pairs of a source that are known not to be negatives. */
async function addKnown(raw: RawSource, pairs: PairSet): Promise<void> {
  pairs.addKeys(raw.dropped ?? []);
  for await (const { qid, query, passages, relevance } of raw.lists(skipCount())) {
    for (const [p, passage] of passages.entries()) if (relevance[p]! > 0) pairs.add(query, passage);
    for (const docid of raw.relevantIds?.(qid) ?? []) pairs.addId(query, docid);
  }
}

/** Opens the sampled lists of one source. Skips are counted in the first pass; later ones skip the same lists. */
async function sampledSource(source: DataSource, sampler: Sampler, folder: string, needed: Needs): Promise<ListSource> {
  const raw = await openRaw(source, folder);
  const first = skipCount();
  let passes = 0;
  const sampled = (list: IdentifiedList, seed: number, counts: SkipCount): readonly CandidateList[] | undefined => {
    const found = samples(list, sampler, seed, needed);
    if (typeof found !== 'string') return found;
    const origin = originOf(list);
    counts.skip(found, origin?.where, origin?.rows);
    return undefined;
  };
  const paths = new Set([...raw.files, ...(source.madeFrom ?? []).map((path) => originIn(folder, path))]);
  return {
    files: await Promise.all([...paths].map(async (path) => ({ path, sha256: await sha256File(path) }))),
    skipped: first.skipped,
    async *lists(seed) {
      const counts = passes++ === 0 ? first : skipCount();
      for await (const list of raw.lists(counts, seed)) {
        yield* sampled(list, seed, counts) ?? [];
      }
    },
    leftOut: first.leftOut,
    notes: first.notes,
    async *usage(seed, most, onList) {
      const counts = skipCount();
      let used = 0;
      let lists = 0;
      let complete = true;
      for await (const list of raw.lists(counts)) {
        const taken = sampled(list, seed, counts);
        if (taken) used += originOf(list)?.rows ?? 1;
        onList?.(list, taken ?? []);
        complete = ++lists < most;
        if (!complete) break;
      }
      yield {
        path: source.path,
        used,
        unused: counts.rows(),
        leftOut: counts.leftOut(),
        notes: counts.notes(),
        complete,
      };
    },
    whole: () => raw.lists(skipCount()),
    addKnown: (pairs) => addKnown(raw, pairs),
    close: () => raw.close(),
  };
}

/** Returns a function that draws the place of the next source. */
function mixOf(weights: readonly number[], seed: number): () => number {
  const random = createRandom(deriveSeed(seed, 'mix'));
  const ends = weights.map((_, i) => weights.slice(0, i + 1).reduce((sum, weight) => sum + weight, 0));
  return () => {
    const point = random.next() * ends.at(-1)!;
    return Math.max(
      0,
      ends.findIndex((end) => point < end),
    );
  };
}

/** Returns how many lists of each source one pass takes, where the sources hold these numbers of lists. */
export function drawnOfEach(lists: readonly number[], weights: readonly number[], seed: number): number[] {
  if (lists.length === 1) return [...lists];
  const choose = mixOf(weights, seed);
  const drawn = lists.map(() => 0);
  for (;;) {
    const next = choose();
    if (drawn[next] === lists[next]) return drawn;
    drawn[next]!++;
  }
}

/** Draws lists from several sources by their weights until one of them ends. */
function mixed(sources: readonly { readonly source: ListSource; readonly weight: number }[]): ListSource {
  return {
    files: sources.flatMap(({ source }) => source.files),
    skipped() {
      const all: Record<string, number> = {};
      for (const { source } of sources)
        for (const [reason, n] of Object.entries(source.skipped())) all[reason] = (all[reason] ?? 0) + n;
      return all;
    },
    async *lists(seed): AsyncGenerator<CandidateList> {
      const choose = mixOf(
        sources.map(({ weight }) => weight),
        seed,
      );
      const open = sources.map(({ source }, i) => source.lists(deriveSeed(seed, 'source', i))[Symbol.asyncIterator]());
      try {
        for (;;) {
          const { value, done } = await open[choose()]!.next();
          if (done) return;
          yield value;
        }
      } finally {
        for (const each of open) await each.return?.();
      }
    },
    async *whole() {
      for (const { source } of sources) yield* source.whole();
    },
    async addKnown(pairs) {
      for (const { source } of sources) await source.addKnown(pairs);
    },
    leftOut() {
      const all = new Map<string, LeftOut>();
      for (const each of sources.flatMap(({ source }) => source.leftOut())) {
        const before = all.get(each.reason);
        all.set(each.reason, before ? { ...before, count: before.count + each.count } : each);
      }
      return [...all.values()];
    },
    notes: () => sources.flatMap(({ source }) => source.notes()),
    async *usage(seed, most, onList) {
      for (const { source } of sources) yield* source.usage(seed, most, onList);
    },
    async close() {
      for (const { source } of sources) await source.close?.();
    },
  };
}

/**
 * Opens the sources of a recipe's `data`.
 * @param needed what the objective needs: lists that lack it are left out and counted.
 */
export async function openSources(data: Data, folder: string, needed: Needs = NOTHING): Promise<ListSource> {
  const opened = await Promise.all(
    data.train.map(async (source) => ({
      source: await sampledSource(source, data.sampler, folder, needed),
      weight: source.weight,
    })),
  );
  return opened.length === 1 ? opened[0]!.source : mixed(opened);
}
