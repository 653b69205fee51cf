import { resolve as resolvePath } from 'node:path';
import { describe, WinnowError } from '../../errors.ts';
import { openCollection } from '../../evaluation/formats/load-dataset.ts';
import { readQrels, splitEmpty } from '../../evaluation/formats/qrels.ts';
import { readQueries } from '../../evaluation/formats/topics.ts';
import type { Qrels } from '../../evaluation/measures/ranked.ts';
import { readLines } from '../../util/lines.ts';
import { columnSorter } from './columns.ts';
import type { DataSource } from './data-schema.ts';
import { datasetFiles } from './datasets-folder.ts';
import { leastGrade, relevantOf } from './grading.ts';
import { judgedRow } from './judged-row.ts';
import { knownTexts } from './known-texts.ts';
import { type IdentifiedList, type RawSource, type SkipCount, withOrigin } from './list-types.ts';
import { groupPairs } from './pair-groups.ts';
import type { DataRecord, LineReader, RawList, RowSkip } from './raw-list.ts';
import { isPairScore, type PairScores, readRow } from './read-row.ts';
import { RECORDS, type RecordFormat } from './records.ts';
import { isHeaderLine, lineReader, type RowFormat, resolve, type TextLookup } from './row-formats.ts';
import { shuffled } from './shuffle.ts';
import { readTeacher, scoresOf, type TeacherScores } from './teacher.ts';

/** Rows in the shuffle buffer: files of tens of millions of rows are shuffled in constant memory. */
const SHUFFLE_ROWS = 10_000;
/** Rows that decide what a column holds: one of whole numbers alone holds ids. */
const FIRST_ROWS = 100;

async function openLookup(source: DataSource, at: (path: string) => string) {
  const queries = source.queries === undefined ? undefined : await readQueries(at(source.queries));
  const store = source.collection === undefined ? undefined : await openCollection(at(source.collection));
  const lookup: TextLookup = {
    query: queries && ((id) => queries.get(id)),
    passages: store && ((ids) => knownTexts(store, ids)),
  };
  return { lookup, close: async () => store?.close() };
}

const isWhole = (text: string): boolean => /^\d+$/.test(text);

/** Refuses columns of whole numbers without `queries` or `collection`: ids would be read as texts. */
function refuseIds(rows: readonly RawList[], { query, passages }: TextLookup): void {
  const [first] = rows;
  if (!first) return;
  const refuse = (expected: string, got: string | undefined): never => {
    throw new WinnowError('invalid_input', { where: first.where ?? 'rows', expected, got: describe(got) });
  };
  const bareQueries = !query && rows.every((row) => isWhole(row.query));
  const barePassages = !passages && rows.every((row) => row.passages.every(isWhole));
  const lastIsBare = !passages && rows.every((row) => row.passages.length > 1 && isWhole(row.passages.at(-1)!));
  if ((bareQueries && (barePassages || rows.length > 1)) || barePassages)
    refuse('texts, or `queries` and `collection` for rows of ids', bareQueries ? first.query : first.passages[0]);
  if (lastIsBare && rows.length > 1)
    refuse('texts of negatives; rows of query, passage and label are `format: tsv`', first.passages.at(-1));
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

/** What a row of a file gives. */
interface ReadRow {
  readonly where: string;
  readonly row: RawList | RowSkip;
}

async function* readLineRows(path: string, format: RowFormat, read: LineReader): AsyncGenerator<ReadRow> {
  let first = true;
  for await (const { line, text } of readLines(path)) {
    if (text.trim() === '') continue;
    const where = `${path}:${line}`;
    const passedOver = first && isHeaderLine(text, format, where);
    first = false;
    if (!passedOver) yield { where, row: read(text, where) };
  }
}

/** Reads rows by the reader that `readerOf` returns for the first of them. */
async function* readByFirst<Row, Read>(
  rows: AsyncIterable<Row>,
  readerOf: (first: readonly Row[]) => (row: Row) => Read,
): AsyncGenerator<Read> {
  const first: Row[] = [];
  let read: ((row: Row) => Read) | undefined;
  for await (const row of rows) {
    if (read) yield read(row);
    else if (first.push(row) === FIRST_ROWS) {
      read = readerOf(first);
      for (const each of first) yield read(each);
    }
  }
  if (read) return;
  read = readerOf(first);
  for (const each of first) yield read(each);
}

/** Returns what the scores of single passages are, by the first rows. */
function pairScoresOf(records: readonly DataRecord[]): PairScores {
  const outside = records.some(({ cells }) =>
    Object.keys(cells).some((name) => isPairScore(name) && (Number(cells[name]) < 0 || Number(cells[name]) > 1)),
  );
  return outside ? 'teacher' : 'labels';
}

function readRecords(
  records: AsyncIterable<DataRecord>,
  reading: DataSource,
  qrels: Qrels | undefined,
  counts: SkipCount,
): AsyncGenerator<ReadRow> {
  const sort = columnSorter(reading.columns);
  const noted = new Set<unknown>();
  let weighted = false;
  const weightOf = (cells: DataRecord['cells']): unknown => sort(cells).weight.map((name) => cells[name])[0];
  const read = ({ cells, where }: DataRecord, pairScores: PairScores): ReadRow => {
    const columns = sort(cells);
    const drop = (reason: string, count = 1): void => counts.drop(reason, count, where);
    weighted ||= columns.weight.length > 0;
    if (weighted && (weightOf(cells) ?? null) === null) drop('row without a weight, which counts as 1');
    const row = qrels
      ? judgedRow(cells, columns, where, { reading, drop, qrels })
      : readRow(cells, columns, where, { reading, pairScores, drop });
    // Positives say which passages there are: other columns of passages beside them are not read.
    const beside = columns.positive.length > 0 ? [...columns.passage, ...columns.answer] : [];
    if (!noted.has(columns))
      for (const name of [...columns.unread, ...columns.unknown, ...beside]) counts.unread?.(name, where);
    noted.add(columns);
    return { where, row };
  };
  return readByFirst(records, (first) => {
    const scores = pairScoresOf(first);
    weighted = first.some(({ cells }) => sort(cells).weight.length > 0);
    return (record) => read(record, scores);
  });
}

/** Yields the rows of all files as one. */
async function* recordsOf(
  files: readonly string[],
  format: RecordFormat,
  { columns }: DataSource,
): AsyncGenerator<DataRecord> {
  for (const file of files) yield* RECORDS[format](file, columns);
}

/** Passes rows on once the first ones are known not to be ids. */
const withoutIds = (rows: AsyncIterable<RawList>, lookup: TextLookup): AsyncGenerator<RawList> =>
  readByFirst(rows, (first) => {
    refuseIds(first, lookup);
    return (row) => row;
  });

/**
 * Opens files of one list per row, which are streamed: MS MARCO triples (ids or texts), Hofstätter's teacher scores, and rows with columns of
 * sentence-transformers, FlagEmbedding and Tevatron as JSON, CSV, TSV, Parquet or a folder of these.
 */
export async function openRowSource(
  source: DataSource & { readonly format: RowFormat },
  folder: string,
): Promise<RawSource> {
  const at = (path: string) => resolvePath(folder, path);
  const path = at(source.path);
  refuseReadings(source);
  const { format } = source;
  const data =
    format === 'datasets' ? await datasetFiles(path, source.split) : { format: format as RecordFormat, files: [path] };
  const readLine = lineReader(format);
  const { lookup, close } = await openLookup(source, at);
  const teacher = source.teacher === undefined ? undefined : await readTeacher(at(source.teacher), source.teacherValue);
  const qrels = source.qrels === undefined ? undefined : splitEmpty(await readQrels(at(source.qrels))).qrels;
  const heldOut = source.excludeJudged === undefined ? undefined : await readQrels(at(source.excludeJudged));
  async function* rows(counts: SkipCount): AsyncGenerator<RawList> {
    const read = readLine
      ? readLineRows(path, format, readLine)
      : readRecords(recordsOf(data.files, data.format, source), source, qrels, counts);
    for await (const { where, row } of read)
      if (typeof row === 'string') counts.skip(row, where);
      else yield { ...row, where };
  }
  async function* lists(counts: SkipCount, seed?: number): AsyncGenerator<IdentifiedList> {
    const joined = groupPairs(withoutIds(rows(counts), lookup));
    for await (const raw of seed === undefined ? joined : shuffled(joined, seed, SHUFFLE_ROWS)) {
      const list = await resolve(raw, lookup, counts);
      const { where, rows: made = 1 } = raw;
      if (typeof list === 'string') counts.skip(list, where, made);
      else if (heldOut?.has(list.qid)) counts.skip('held out', where, made);
      else {
        const taught = withTeacher(list, teacher, source.teacherScale);
        yield where === undefined ? taught : withOrigin(taught, { where, rows: made });
      }
    }
  }
  const others = [source.queries, source.collection, source.qrels, source.teacher, source.excludeJudged];
  const files = [...data.files, ...others.flatMap((file) => (file === undefined ? [] : [at(file)]))];
  return {
    files,
    lists,
    ...(qrels && { relevantIds: (qid: string) => relevantOf(qrels, qid, leastGrade(source)) }),
    close,
  };
}
