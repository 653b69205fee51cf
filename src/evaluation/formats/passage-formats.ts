import { describe, WinnowError } from '../../errors.ts';
import { parseExact } from '../../util/exact-json.ts';
import { isObject, type JsonObject, readId, textField } from '../../util/json-files.ts';
import { readLines, scanLines } from '../../util/lines.ts';
import { placeOf } from '../../util/text.ts';
import { passageIdName, passageTextName } from './json-rows.ts';
import { parquetRows, rowPlace } from './parquet.ts';
import type { Passage, PassageParser } from './passage-store.ts';
import { documentBytes, endOfDocument, parseDocument } from './trec-documents.ts';

/** Receives a passage, the line (of Parquet, the row) where its record begins, and the offset of the record in the (unpacked) file. */
type PassageVisitor = (passage: Passage, line: number, offset: number) => void;

/** Reads the passages of a collection's file from its start. */
export interface PassageReader {
  scan(path: string, visit: PassageVisitor): Promise<void>;
  entries(path: string): AsyncGenerator<Passage>;
  /** Formats the place of a record for messages. */
  place(path: string, line: number): string;
}

/** How a collection's file holds its passages: one record after the other, each of which can be read where it is. */
export interface PassageFormat extends PassageReader {
  /** Returns the length of the record that the bytes begin with; -1 if the record is longer than the bytes. */
  endOf(bytes: Buffer): number;
  /** Parses one record. */
  parse(bytes: Buffer, where: string): Passage;
}

const NEWLINE = 10;

const endOfLine = (bytes: Buffer): number => {
  const end = bytes.indexOf(NEWLINE);
  return end > 0 && bytes[end - 1] === 13 ? end - 1 : end;
};

const ofLines = (parse: PassageParser): PassageFormat => ({
  scan: (path, visit) =>
    scanLines(path, (buffer, start, end, line, offset) => {
      const text = buffer.toString('utf8', start, end);
      if (text.trim() !== '') visit(parse(text, placeOf(path, line)), line, offset);
    }),
  async *entries(path) {
    for await (const { line, text } of readLines(path)) if (text.trim() !== '') yield parse(text, placeOf(path, line));
  },
  place: placeOf,
  endOf: endOfLine,
  parse: (bytes, where) => parse(bytes.toString('utf8'), where),
});

const FIRST_TAB = /^([^\t]+)\t(.*)$/s;

/** `id <tab> text`, or `id <tab> url <tab> title <tab> body` (MS MARCO documents). */
const TSV = ofLines((line, where) => {
  const match = FIRST_TAB.exec(line);
  if (match !== null) return { id: match[1]!, text: match[2]! };
  const got = `"${line.slice(0, 40)}"`;
  throw new WinnowError('invalid_input', { where, expected: 'id and text with a tab between', got });
});

/** BEIR's `{_id, title, text}` and similar objects; title and text are joined by a space. */
function passageOf(value: JsonObject, where: string): Passage {
  const text = textField(value, passageTextName(value), where);
  const title = typeof value.title === 'string' ? value.title.trim() : '';
  return { id: readId(value, passageIdName(value), where), text: title === '' ? text : `${title} ${text}` };
}

const JSON_LINES = ofLines((line, where) => {
  try {
    const value = parseExact(line);
    if (isObject(value)) return passageOf(value, where);
    throw new WinnowError('invalid_input', { where, expected: 'a JSON object', got: describe(value) });
  } catch (error) {
    if (error instanceof WinnowError) throw error;
    throw new WinnowError('invalid_input', { where, expected: 'a JSON object', got: (error as Error).message });
  }
});

const DOCUMENTS: PassageFormat = {
  async scan(path, visit) {
    for await (const { bytes, linesBefore, offset } of documentBytes(path))
      visit(parseDocument(bytes, path, linesBefore), linesBefore + 1, offset);
  },
  async *entries(path) {
    for await (const { bytes, linesBefore } of documentBytes(path)) yield parseDocument(bytes, path, linesBefore);
  },
  place: placeOf,
  endOf: endOfDocument,
  parse: parseDocument,
};

/** Rows of Parquet: only all rows of a group can be read at once. */
export const PARQUET: PassageReader = {
  async scan(path, visit) {
    for await (const [row, number] of parquetRows(path)) visit(passageOf(row, rowPlace(path, number)), number, 0);
  },
  async *entries(path) {
    for await (const [row, number] of parquetRows(path)) yield passageOf(row, rowPlace(path, number));
  },
  place: rowPlace,
};

/** Formats of collections by what `kindOfFile` finds. */
export const PASSAGE_FORMATS = { lines: TSV, json: JSON_LINES, tags: DOCUMENTS } as const;
