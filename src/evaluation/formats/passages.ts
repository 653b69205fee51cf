import { stat } from 'node:fs/promises';
import { describe, WinnowError } from '../../errors.ts';
import { parseExact } from '../../util/exact-json.ts';
import { isJsonLines, isObject, type JsonObject, readId, scanJsonLines, textField } from '../../util/json-files.ts';
import { scanLines } from '../../util/lines.ts';
import { badLine, placeOf } from '../../util/text.ts';
import { indexPassages } from './passage-index.ts';
import { missingPassage, type Passage, type PassageParser, type PassageStore } from './passage-store.ts';

/** Files larger than this (64 MiB) stay on disk behind an index. */
const IN_MEMORY_BYTES = 64 * 2 ** 20;

/** Wraps texts in memory as a store. @param source name of the collection in errors. */
export function memoryPassages(texts: ReadonlyMap<string, string>, source: string): PassageStore {
  return {
    size: texts.size,
    async texts(ids) {
      return ids.map((id) => {
        const text = texts.get(id);
        if (text === undefined) throw missingPassage(source, id);
        return text;
      });
    },
    async *entries() {
      for (const [id, text] of texts) yield { id, text };
    },
    async close() {},
  };
}

const FIRST_TAB = /^([^\t]+)\t(.*)$/s;

/** Parses `id <tab> text`, or `id <tab> url <tab> title <tab> body` (MS MARCO documents). */
const parseTsv: PassageParser = (line, where) => {
  const match = FIRST_TAB.exec(line);
  if (match === null)
    throw new WinnowError('invalid_input', {
      where,
      expected: 'id and text with a tab between',
      got: `"${line.slice(0, 40)}"`,
    });
  return { id: match[1]!, text: match[2]! };
};

const idName = (value: object): string => ['_id', 'id', 'docid', 'pid'].find((field) => field in value) ?? '_id';

/** Parses BEIR's `{_id, title, text}` and similar objects; title and text are joined by a space. */
function passageOf(value: JsonObject, where: string): Passage {
  const text = textField(value, 'text' in value ? 'text' : 'contents' in value ? 'contents' : 'text', where);
  const title = typeof value.title === 'string' ? value.title.trim() : '';
  return { id: readId(value, idName(value), where), text: title === '' ? text : `${title} ${text}` };
}

const parseJsonLine: PassageParser = (line, where) => {
  try {
    const value = parseExact(line);
    if (isObject(value)) return passageOf(value, where);
    throw new WinnowError('invalid_input', { where, expected: 'a JSON object', got: describe(value) });
  } catch (error) {
    if (error instanceof WinnowError) throw error;
    throw new WinnowError('invalid_input', { where, expected: 'a JSON object', got: (error as Error).message });
  }
};

const parserOf = (path: string): PassageParser => (isJsonLines(path) ? parseJsonLine : parseTsv);

async function readToMemory(path: string): Promise<PassageStore> {
  const texts = new Map<string, string>();
  const add = ({ id, text }: Passage, line: number): void => {
    if (texts.has(id)) throw badLine(path, line, 'each passage once', `${id} again`);
    texts.set(id, text);
  };
  if (isJsonLines(path)) await scanJsonLines(path, (value, line) => add(passageOf(value, placeOf(path, line)), line));
  else
    await scanLines(path, (buffer, start, end, line) => {
      if (end > start) add(parseTsv(buffer.toString('utf8', start, end), placeOf(path, line)), line);
    });
  return memoryPassages(texts, path);
}

/**
 * Opens a collection of one passage a line (`.jsonl` as BEIR writes it, else `id <tab> text`). A file of up to 64 MiB, or a
 * packed one, is read into memory; a larger one stays on disk behind an index of about 30 bytes a passage.
 *
 * @throws WinnowError `invalid_input` with file and line: a line that does not parse, an id that comes twice.
 */
export async function openPassages(path: string, options: { inMemory?: number } = {}): Promise<PassageStore> {
  const size = await stat(path).then(
    (s) => s.size,
    () => 0,
  );
  if (path.endsWith('.gz') || size <= (options.inMemory ?? IN_MEMORY_BYTES)) return readToMemory(path);
  return indexPassages(path, parserOf(path));
}
