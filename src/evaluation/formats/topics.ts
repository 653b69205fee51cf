import { describe, WinnowError } from '../../errors.ts';
import {
  checkId,
  hasJsonLines,
  isJson,
  isJsonLines,
  isObject,
  type JsonObject,
  readId,
  readUniqueJson,
  textField,
} from '../../util/json-files.ts';
import { scanLines } from '../../util/lines.ts';
import { badLine, readText } from '../../util/text.ts';
import { isRegular, isTsv, kindOfFile, kindOfText } from './file-kind.ts';
import { ownQueryIdName } from './json-rows.ts';
import { scanRows } from './scan-rows.ts';
import { readSmartQueries } from './smart.ts';
import { parseTaggedTopics } from './tagged-topics.ts';
import { queryOf, type TopicField } from './topic-fields.ts';
import { writeLines } from './write-lines.ts';

/** Query id → text. */
export type Queries = ReadonlyMap<string, string>;

/** Adds an entry to a map. @throws the error that `fault` returns if the id is there already. */
export function addOnce(map: Map<string, string>, id: string, text: string, fault: (got: string) => Error): void {
  if (map.has(id)) throw fault(`${id} again`);
  map.set(id, text);
}

function addTsvLine(texts: Map<string, string>, text: string, path: string, line: number): void {
  if (text === '') return;
  const tab = text.indexOf('\t');
  if (tab <= 0) throw badLine(path, line, 'id and text with a tab between', `"${text.slice(0, 40)}"`);
  addOnce(texts, text.slice(0, tab), text.slice(tab + 1), (got) => badLine(path, line, 'each id once', got));
}

/** Reads `id <tab> text` lines: MS MARCO and LoTTE queries and collections, TREC-DL topics. */
export async function readTsv(path: string): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  await scanLines(path, (buffer, start, end, line) =>
    addTsvLine(texts, buffer.toString('utf8', start, end), path, line),
  );
  return texts;
}

function fail(where: string, expected: string, got: unknown): never {
  throw new WinnowError('invalid_input', { where, expected, got: describe(got) });
}

/** Returns the query of a row: `query` or `text`, or the parts of a topic as ir_datasets and Pyserini write them. */
function rowQuery(row: JsonObject, field: TopicField, where: string): string {
  const own = field === 'title' ? ['query', 'text'].find((name) => name in row) : undefined;
  if (own !== undefined) return textField(row, own, where);
  const part = (name: string): string =>
    (row[name] ?? undefined) === undefined ? '' : textField(row, name, where).trim();
  const name = field === 'title' ? 'text' : field;
  return queryOf({ part, whole: part('question') }, field) || fail(where, `"${name}" to be text`, row[name]);
}

/** Reads queries from rows of JSON lines or Parquet: BEIR, MTEB, ir_datasets, or any with `id` and `text`. */
async function readRowQueries(path: string, kind: 'json' | 'parquet', field: TopicField): Promise<Map<string, string>> {
  const queries = new Map<string, string>();
  await scanRows(path, kind, (row, where) => {
    const twice = (got: string): Error => new WinnowError('invalid_input', { where, expected: 'each id once', got });
    addOnce(queries, readId(row, ownQueryIdName(row), where), rowQuery(row, field, where), twice);
  });
  return queries;
}

const isRow = (value: JsonObject): boolean =>
  ownQueryIdName(value) in value && ['query', 'text', 'title'].some((name) => name in value);

/** Reads a list of rows, one row, `{id: text}`, or `{id: {title, description, narrative}}` as Pyserini writes topics. */
async function readJsonDocument(path: string, field: TopicField): Promise<Map<string, string>> {
  const value = await readUniqueJson(path);
  const queries = new Map<string, string>();
  const add = (row: unknown, where: string, given?: string): void => {
    if (!isObject(row)) fail(where, 'text, or an object with "text" or "title"', row);
    const id = given === undefined ? readId(row, ownQueryIdName(row), where) : checkId(given, 'a query id', path);
    const twice = (got: string): Error => new WinnowError('invalid_input', { where, expected: 'each query once', got });
    addOnce(queries, id, rowQuery(row, field, where), twice);
  };
  if (Array.isArray(value)) for (const [i, row] of value.entries()) add(row, `${path}, entry ${i + 1}`);
  else if (!isObject(value)) fail(path, '{id: text} or a list of queries', value);
  else if (isRow(value)) add(value, path);
  else
    for (const [id, row] of Object.entries(value))
      add(typeof row === 'string' ? { text: row } : row, `${path}, query ${id}`, id);
  return queries;
}

function refuseField(path: string, field: TopicField, kind: 'smart' | 'lines'): void {
  if (field !== 'title')
    throw new WinnowError('invalid_input', {
      where: path,
      expected: `topics that have a ${field}`,
      got: kind === 'smart' ? 'a SMART file' : 'lines of id and text; leave the field out',
    });
}

/** Reads a whole file or pipe of queries and finds the format in its text: a pipe can be read only once. */
async function readWhole(path: string, field: TopicField): Promise<Map<string, string>> {
  const text = await readText(path);
  const kind = kindOfText(path, text);
  if (kind === 'tags') return parseTaggedTopics(text, path, field);
  if (kind === 'json') return fail(path, 'JSON from a file', 'a pipe');
  refuseField(path, field, kind);
  if (kind === 'smart') return readSmartQueries(text, path);
  const texts = new Map<string, string>();
  for (const [i, line] of text.split(/\r?\n/).entries()) addTsvLine(texts, line, path, i + 1);
  return texts;
}

/**
 * Reads queries: `id <tab> text`, JSON lines or Parquet (BEIR, MTEB, ir_datasets), JSON (a list, `{id: text}`), topics in XML or SGML, SMART.
 * The name decides if it is `.tsv`, `.jsonl` or `.json`, else the first bytes do.
 *
 * @param field part of a topic that is the query.
 * @throws WinnowError `invalid_input` with file and line, also for a field that the file does not have.
 */
export async function readQueries(path: string, field: TopicField = 'title'): Promise<Map<string, string>> {
  const { kind } = await kindOfFile(path);
  if (kind === 'tags' || kind === 'smart' || (kind === 'lines' && !isTsv(path) && !(await isRegular(path))))
    return readWhole(path, field);
  if (kind === 'json' && isJson(path) && !(await hasJsonLines(path))) return readJsonDocument(path, field);
  if (kind === 'json' || kind === 'parquet') return readRowQueries(path, kind, field);
  refuseField(path, field, kind);
  return readTsv(path);
}

/** Writes queries as `id <tab> text`, or as BEIR's JSON lines if the name ends in `.jsonl`. */
export async function writeQueries(path: string, queries: Queries): Promise<void> {
  const json = isJsonLines(path);
  const oneLine = (text: string): string => text.replace(/[\t\r\n]+/g, ' ');
  const lines = Array.from(queries, ([id, text]) => {
    if (json) return JSON.stringify({ _id: id, text, metadata: {} });
    if (id === '' || /[\t\r\n]/.test(id))
      throw new WinnowError('invalid_input', { where: path, expected: 'ids without tabs', got: JSON.stringify(id) });
    return `${id}\t${oneLine(text)}`;
  });
  await writeLines(path, lines);
}
