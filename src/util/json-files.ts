import { stat } from 'node:fs/promises';
import { describe, WinnowError } from '../errors.ts';
import { readHead } from './bytes.ts';
import { parseExact, repeatedKey, sourceOf } from './exact-json.ts';
import { scanLines } from './lines.ts';
import { parseJson } from './parse-json.ts';
import { badLine, readText } from './text.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Returns a JSON object; an empty one for another value. */
export const asObject = (value: unknown): JsonObject => (isObject(value) ? value : {});

export const isJson = (path: string): boolean => /\.json(\.(?:gz|zst))?$/i.test(path);
export const isJsonLines = (path: string): boolean => /\.(jsonl|ndjson)(\.(?:gz|zst))?$/i.test(path);

function parseFile(path: string, text: string): unknown {
  try {
    return parseExact(text);
  } catch (error) {
    throw new WinnowError(
      'invalid_input',
      { where: path, expected: 'JSON', got: (error as Error).message },
      { cause: error },
    );
  }
}

/** Reads and parses a JSON file; `readId` finds its ids as they are written. @throws WinnowError `invalid_input` that names the file. */
export const readJsonFile = async (path: string): Promise<unknown> => parseFile(path, await readText(path));

/**
 * Reads a JSON file whose keys are data, such as `{qid: {docid: score}}`.
 *
 * @throws WinnowError `invalid_input` as `readJsonFile`, and for a key that an object has twice: one of the two would be lost.
 */
export async function readUniqueJson(path: string): Promise<unknown> {
  const text = await readText(path);
  const value = parseFile(path, text);
  const key = repeatedKey(text, value);
  if (key === undefined) return value;
  throw new WinnowError('invalid_input', { where: path, expected: 'each key once', got: `${describe(key)} twice` });
}

/** Parses the object on a line. @throws WinnowError `invalid_input` with file and line. */
export function parseJsonLine(path: string, line: number, text: string): JsonObject {
  try {
    const value = parseExact(text);
    if (isObject(value)) return value;
    throw badLine(path, line, 'a JSON object', describe(value));
  } catch (error) {
    throw error instanceof WinnowError ? error : badLine(path, line, 'a JSON object', (error as Error).message);
  }
}

/**
 * Calls `visit` for the object on every line; skips blank lines.
 *
 * @throws WinnowError `invalid_input` with file and line for a line that is not a JSON object.
 */
export async function scanJsonLines(
  path: string,
  visit: (value: JsonObject, line: number, offset: number) => void,
): Promise<void> {
  await scanLines(path, (buffer, start, end, line, offset) => {
    const text = buffer.toString('utf8', start, end);
    if (text.trim() !== '') visit(parseJsonLine(path, line, text), line, offset);
  });
}

/** Returns a field that is text, or a number as it is written. @throws WinnowError `invalid_input`. */
export function textField(value: JsonObject, field: string, where: string): string {
  const found = value[field];
  if (typeof found === 'string') return found;
  if (typeof found === 'number') return sourceOf(value, field, found);
  throw new WinnowError('invalid_input', { where, expected: `"${field}" to be text`, got: describe(found) });
}

/**
 * Returns an id as it is written.
 *
 * @throws WinnowError `invalid_input` for text with half a surrogate pair, which UTF-8 cannot hold: two ids would become one.
 */
export function checkId(id: string, name: string, where: string): string {
  if (id.isWellFormed()) return id;
  const got = `${JSON.stringify(id)}, half a surrogate pair`;
  throw new WinnowError('invalid_input', { where, expected: `${name} to be Unicode text`, got });
}

const WHOLE = /^-?\d+$/;

/**
 * Returns an item of an object or array that is an id: text, or a whole number, digit by digit as it is written.
 *
 * @param holder the object or array, from a reader of this file.
 * @throws WinnowError `invalid_input` for another type and for a number with a point or an exponent.
 */
export function readId(holder: object, field: string | number, where: string): string {
  const name = typeof field === 'number' ? `item ${field + 1}` : `"${field}"`;
  const found: unknown = Reflect.get(holder, field);
  if (typeof found === 'string') return checkId(found, name, where);
  const fail = (expected: string, got: string): never => {
    throw new WinnowError('invalid_input', { where, expected: `${name} to be ${expected}`, got });
  };
  if (typeof found !== 'number') return fail('text', describe(found));
  const source = sourceOf(holder, `${field}`, found);
  return WHOLE.test(source) ? source : fail('text or a whole number', `${source}; put the id in quotes`);
}

/** Longest first line of JSON lines that is recognized without the name `.jsonl`: a query with a thousand passages. */
const FIRST_LINE_BYTES = 8 * 2 ** 20;

/** Tells whether a file is JSON lines: by its name, or by a JSON object on its first line with more lines after it. */
export async function hasJsonLines(path: string): Promise<boolean> {
  if (isJsonLines(path)) return true;
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile() !== true) return false;
  const { head } = await readHead(path, FIRST_LINE_BYTES);
  const [first = '', ...rest] = head.toString('utf8').trimStart().split('\n', 3);
  if (rest.length === 0 || rest.every((line) => line.trim() === '')) return false;
  try {
    return isObject(parseJson(first));
  } catch {
    return false;
  }
}
