import { WinnowError } from '../../errors.ts';
import { isJsonLines, readId, scanJsonLines, textField } from '../../util/json-files.ts';
import { scanLines } from '../../util/lines.ts';
import { badLine, placeOf, readText } from '../../util/text.ts';
import { writeLines } from './write-lines.ts';

/** Query id → text. */
export type Queries = ReadonlyMap<string, string>;

/** The part of a TREC topic that is the query. */
export type TopicField = 'title' | 'description' | 'narrative' | 'title+description';

/** Adds an entry to a map. @throws the error that `fault` returns if the id is there already. */
export function addOnce(map: Map<string, string>, id: string, text: string, fault: (got: string) => Error): void {
  if (map.has(id)) throw fault(`${id} again`);
  map.set(id, text);
}

/** Reads `id <tab> text` lines: MS MARCO and LoTTE queries and collections, TREC-DL topics. */
export async function readTsv(path: string): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  await scanLines(path, (buffer, start, end, line) => {
    if (start === end) return;
    const tab = buffer.subarray(start, end).indexOf(9);
    if (tab <= 0)
      throw badLine(
        path,
        line,
        'id and text with a tab between',
        `"${buffer.toString('utf8', start, Math.min(end, start + 40))}"`,
      );
    const id = buffer.toString('utf8', start, start + tab);
    addOnce(texts, id, buffer.toString('utf8', start + tab + 1, end), (got) =>
      badLine(path, line, 'each id once', got),
    );
  });
  return texts;
}

/** Reads queries from JSON lines: `_id` (BEIR), `id` or `qid` with `text` or `query`. */
async function readJsonQueries(path: string): Promise<Map<string, string>> {
  const queries = new Map<string, string>();
  await scanJsonLines(path, (value, line) => {
    const where = placeOf(path, line);
    const id = readId(value, '_id' in value ? '_id' : 'qid' in value ? 'qid' : 'id', where);
    addOnce(queries, id, textField(value, 'query' in value ? 'query' : 'text', where), (got) =>
      badLine(path, line, 'each id once', got),
    );
  });
  return queries;
}

const LABELS = /^(?:Number|Topic|Description|Narrative)\s*:/i;

/** Returns the text after `<tag>` up to the next tag, without the label TREC writes there and with single spaces. */
function section(topic: string, tag: string): string {
  const match = new RegExp(`<${tag}>([^<]*)`, 'i').exec(topic);
  return (match?.[1] ?? '').trim().replace(LABELS, '').replace(/\s+/g, ' ').trim();
}

const FIELDS: Readonly<Record<TopicField, (topic: string) => string>> = {
  title: (topic) => section(topic, 'title'),
  description: (topic) => section(topic, 'desc'),
  narrative: (topic) => section(topic, 'narr'),
  'title+description': (topic) => `${section(topic, 'title')} ${section(topic, 'desc')}`,
};

/** Parses TREC topics in SGML (`<top> <num> Number: 301 <title> …`), as Robust04 has them. */
function parseTopics(text: string, path: string, field: TopicField = 'title'): Map<string, string> {
  const queries = new Map<string, string>();
  for (const match of text.matchAll(/<top>([\s\S]*?)<\/top>/gi)) {
    const line = text.slice(0, match.index).split('\n').length;
    const id = section(match[1]!, 'num');
    const query = FIELDS[field](match[1]!);
    if (id === '' || query === '') throw badLine(path, line, `a topic with <num> and ${field}`, 'one without');
    addOnce(queries, id, query, (got) => badLine(path, line, 'each topic once', got));
  }
  if (queries.size === 0)
    throw new WinnowError('invalid_input', { where: path, expected: 'at least 1 <top> … </top>', got: '0' });
  return queries;
}

/** Reads queries from tab-separated lines, JSON lines or SGML topics (recognized by the first character). */
export async function readQueries(path: string, field: TopicField = 'title'): Promise<Map<string, string>> {
  if (isJsonLines(path)) return readJsonQueries(path);
  if (/\.tsv(\.gz)?$/i.test(path)) return readTsv(path);
  const text = await readText(path);
  return text.trimStart().startsWith('<') ? parseTopics(text, path, field) : readTsv(path);
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
