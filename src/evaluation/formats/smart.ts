import { WinnowError } from '../../errors.ts';
import { badLine } from '../../util/text.ts';

/** An entry of a SMART file, with its fields by letter. */
interface SmartEntry {
  readonly id: string;
  readonly line: number;
  /** Text of a field with single spaces; empty if the entry does not have it. */
  readonly field: (letter: string) => string;
}

const ENTRY = /^\.I\s+(\S+)\s*$/;
const FIELD = /^\.([A-Z])\s*$/;

/** Returns an id as judgements write it: a number without leading zeros, other text as it is. */
export const smartId = (text: string): string => (/^\d+$/.test(text) ? text.replace(/^0+(?=\d)/, '') : text);

/** Returns whether a text begins as a SMART file does. */
export const isSmart = (head: string): boolean => /^\s*\.I\s+\S/.test(head);

/**
 * Yields the entries of a SMART collection (Cranfield, CACM, CISI, MED, ADI): `.I id`, then fields `.T .A .B .W` whose text runs to the
 * next line that is a dot and a capital.
 *
 * @throws WinnowError `invalid_input` with file and line for text before the first `.I`.
 */
function* parseSmart(text: string, path: string): Generator<SmartEntry> {
  let entry: { id: string; line: number; fields: Map<string, string[]> } | undefined;
  let letter = '';
  const finished = ({ id, line, fields }: NonNullable<typeof entry>): SmartEntry => ({
    id,
    line,
    field: (name) => (fields.get(name) ?? []).join(' ').replace(/\s+/g, ' ').trim(),
  });
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    const id = ENTRY.exec(line)?.[1];
    if (id !== undefined) {
      if (entry) yield finished(entry);
      entry = { id: smartId(id), line: i + 1, fields: new Map() };
      letter = '';
      continue;
    }
    const name = FIELD.exec(line)?.[1];
    if (entry === undefined) {
      if (line.trim() !== '') throw badLine(path, i + 1, '".I" and an id', `"${line.slice(0, 40)}"`);
    } else if (name !== undefined) letter = name;
    else {
      const lines = entry.fields.get(letter) ?? [];
      entry.fields.set(letter, lines);
      lines.push(line);
    }
  }
  if (entry) yield finished(entry);
}

/** Reads a text of every entry by id. @throws WinnowError `invalid_input` for an id that comes twice and a file without entries. */
function readSmart(text: string, path: string, what: string, textOf: (entry: SmartEntry) => string) {
  const texts = new Map<string, string>();
  for (const entry of parseSmart(text, path)) {
    if (texts.has(entry.id)) throw badLine(path, entry.line, `each ${what} once`, `${entry.id} again`);
    texts.set(entry.id, textOf(entry));
  }
  if (texts.size > 0) return texts;
  throw new WinnowError('invalid_input', { where: path, expected: 'at least 1 entry ".I"', got: '0' });
}

/** Files of Cranfield 1400 by their names. */
const CRANFIELD = /(?:^|[/\\])cran[^/\\]*$/i;

/** Reads the documents of a SMART collection: title and body (`.T`, `.W`). Cranfield's bodies begin with the title. */
export const readSmartDocuments = (
  text: string,
  path: string,
  isCranfield = CRANFIELD.test(path),
): Map<string, string> =>
  readSmart(text, path, 'document', ({ field }) => {
    const [title, body] = [field('T'), field('W')];
    return isCranfield || body === '' ? body || title : `${title} ${body}`.trim();
  });

/**
 * Reads the queries of a SMART collection: `.W`, or `.T` where there is no other. A query of Cranfield has the number of its place in the
 * file, as its judgements do; the numbers after `.I` differ.
 *
 * @throws WinnowError `invalid_input` with file and line, also for a query without text.
 */
export function readSmartQueries(text: string, path: string, isCranfield = CRANFIELD.test(path)): Map<string, string> {
  const queries = readSmart(text, path, 'query', ({ field, line }) => {
    const query = field('W') || field('T');
    if (query === '') throw badLine(path, line, 'a query with a field .W or .T', 'none');
    return query;
  });
  return isCranfield ? new Map([...queries.values()].map((query, i) => [String(i + 1), query])) : queries;
}
