import { describe, WinnowError } from '../errors.ts';
import { scanLines } from './lines.ts';
import { badLine, readText } from './text.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const isJson = (path: string): boolean => /\.json(\.gz)?$/i.test(path);
export const isJsonLines = (path: string): boolean => /\.(jsonl|ndjson)(\.gz)?$/i.test(path);

/** Reads and parses a JSON file. @throws WinnowError `invalid_input` that names the file. */
export async function readJsonFile(path: string): Promise<unknown> {
  const text = await readText(path);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new WinnowError(
      'invalid_input',
      { where: path, expected: 'JSON', got: (error as Error).message },
      { cause: error },
    );
  }
}

function parseLine(path: string, line: number, text: string): JsonObject {
  try {
    const value: unknown = JSON.parse(text);
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
    if (text.trim() !== '') visit(parseLine(path, line, text), line, offset);
  });
}

/** Returns a field that is text, or a number as text, since ids are often numbers. @throws WinnowError `invalid_input`. */
export function textField(value: JsonObject, field: string, where: string): string {
  const found = value[field];
  if (typeof found === 'string') return found;
  if (typeof found === 'number') return String(found);
  throw new WinnowError('invalid_input', { where, expected: `"${field}" to be text`, got: describe(found) });
}
