import { resolve as resolvePath } from 'node:path';
import { describe, WinnowError } from '../../errors.ts';
import { openCollection } from '../../evaluation/formats/load-dataset.ts';
import { readQrels } from '../../evaluation/formats/qrels.ts';
import { readQueries } from '../../evaluation/formats/topics.ts';
import { readLines } from '../../util/lines.ts';
import type { DataSource } from './data-schema.ts';
import { knownTexts } from './known-texts.ts';
import type { IdentifiedList, RawSource, SkipCount } from './list-types.ts';
import { groupPairs } from './pair-groups.ts';
import type { RawList } from './raw-list.ts';
import { ROW_READERS, type RowFormat, resolve, type TextLookup } from './row-formats.ts';
import { shuffled } from './shuffle.ts';
import { readTeacher, scoresOf, type TeacherScores } from './teacher.ts';

/** Rows in the shuffle buffer: files of tens of millions of rows are shuffled in constant memory. */
const SHUFFLE_ROWS = 10_000;

async function openLookup(source: DataSource, at: (path: string) => string) {
  const queries = source.queries === undefined ? undefined : await readQueries(at(source.queries));
  const store = source.collection === undefined ? undefined : await openCollection(at(source.collection));
  const lookup: TextLookup = {
    query: queries && ((id) => queries.get(id)),
    passages: store && ((ids) => knownTexts(store, ids)),
  };
  return { lookup, close: async () => store?.close() };
}

/** Refuses a row of bare numbers without `queries` or `collection`: MS MARCO's files of ids would be read as texts. */
function refuseIds(row: RawList, { query, passages }: TextLookup, where: string): void {
  const bare = [...(query ? [] : [row.query]), ...(passages ? [] : row.passages)];
  if (bare.length > 0 && bare.every((text) => /^\d+$/.test(text)))
    throw new WinnowError('invalid_input', {
      where,
      expected: 'texts, or `queries` and `collection` for rows of ids',
      got: describe(bare[0]),
    });
}

/** Replaces the list's own teacher scores by those of the teacher, if there is one, and scales them. */
function withTeacher(list: IdentifiedList, teacher: TeacherScores | undefined, scale: number): IdentifiedList {
  const { teacher: own, ...rest } = list;
  const known = teacher?.get(list.qid);
  const scores = teacher ? known && scoresOf(list.docids, known) : own;
  return scores ? { ...rest, teacher: scores.map((score) => score * scale) } : rest;
}

/** Refuses settings on labels that contradict each other or say nothing. */
function refuseReadings({ path, minRelevance, labelScale }: DataSource): void {
  const where = `data ${path}`;
  if (minRelevance !== undefined && labelScale !== undefined)
    throw new WinnowError('invalid_input', { where, expected: '`minRelevance` or `labelScale`', got: 'both' });
  if (labelScale && labelScale[0] >= labelScale[1])
    throw new WinnowError('invalid_input', { where, expected: '`labelScale` to rise', got: labelScale.join(', ') });
}

/**
 * Opens a file of one list per line, which is streamed: MS MARCO triples (ids or texts), Hofstätter's teacher scores, JSONL of
 * sentence-transformers and FlagEmbedding, also with gzip.
 */
export async function openRowSource(
  source: DataSource & { readonly format: RowFormat },
  folder: string,
): Promise<RawSource> {
  const at = (path: string) => resolvePath(folder, path);
  const path = at(source.path);
  refuseReadings(source);
  const read = ROW_READERS[source.format];
  const { lookup, close } = await openLookup(source, at);
  const teacher = source.teacher === undefined ? undefined : await readTeacher(at(source.teacher), source.teacherValue);
  const heldOut = source.excludeJudged === undefined ? undefined : await readQrels(at(source.excludeJudged));
  async function* rows(counts: SkipCount): AsyncGenerator<RawList> {
    let first = true;
    for await (const { line, text } of readLines(path)) {
      if (text.trim() === '') continue;
      const row = read(text, `${path}:${line}`, source);
      if (typeof row === 'string') counts.skip(row);
      else {
        if (first) refuseIds(row, lookup, `${path}:${line}`);
        first = false;
        const { overlapping = 0, ...list } = row;
        counts.drop('negative that equals a positive', overlapping);
        yield list;
      }
    }
  }
  async function* lists(counts: SkipCount, seed?: number): AsyncGenerator<IdentifiedList> {
    const joined = groupPairs(rows(counts));
    for await (const raw of seed === undefined ? joined : shuffled(joined, seed, SHUFFLE_ROWS)) {
      const list = await resolve(raw, lookup, counts);
      if (typeof list === 'string') counts.skip(list);
      else if (heldOut?.has(list.qid)) counts.skip('held out');
      else yield withTeacher(list, teacher, source.teacherScale);
    }
  }
  const files = [source.path, source.queries, source.collection, source.teacher, source.excludeJudged];
  return { files: files.flatMap((file) => (file === undefined ? [] : [at(file)])), lists, close };
}
