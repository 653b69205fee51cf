import { WinnowError } from '../errors.ts';
import { readBytes, STDIN } from './bytes.ts';

const NEWLINE = 10;
const CARRIAGE_RETURN = 13;

/** Bytes read at once where lines become strings: short, because a slice of a line keeps the whole decoded chunk in memory. */
const CHUNK_BYTES = 1 << 16;

interface NumberedLine {
  /** Counted from 1, for error messages. */
  readonly line: number;
  readonly text: string;
}

/**
 * Yields the lines of a file one by one in constant memory, empty ones included; `-` is standard input. Gzip is unpacked and a byte-order
 * mark removed. Only `\n` or `\r\n` ends a line: node:readline also splits at U+2028, which JSON may hold.
 *
 * @throws WinnowError `invalid_input` if the file cannot be read.
 */
export async function* readLines(path: string): AsyncGenerator<NumberedLine> {
  // A TextDecoder removes the byte-order mark.
  const decoder = new TextDecoder();
  let line = 0;
  let rest = '';
  for await (const chunk of readBytes(path, CHUNK_BYTES)) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = parts.pop()!;
    for (const part of parts) yield { line: ++line, text: part.endsWith('\r') ? part.slice(0, -1) : part };
  }
  rest += decoder.decode();
  if (rest !== '') yield { line: ++line, text: rest.replace(/\r$/, '') };
}

/**
 * Receives one line as bytes: they lie in `buffer` from `start` to `end`, without the line break, and are only valid during the call.
 * `line` counts from 1, `offset` is where the line starts in the (unpacked) file.
 */
type LineVisitor = (buffer: Buffer, start: number, end: number, line: number, offset: number) => void;

/**
 * Calls `visit` for every line of a file without allocating per line, under the rules of `readLines`.
 *
 * @throws WinnowError `invalid_input` if the file cannot be read.
 */
export async function scanLines(path: string, visit: LineVisitor): Promise<void> {
  let rest: Buffer | undefined;
  let line = 0;
  let offset = 0;
  const emit = (buffer: Buffer, start: number, end: number): void => {
    const bom = line === 0 && buffer[start] === 0xef && buffer[start + 1] === 0xbb && buffer[start + 2] === 0xbf;
    const stop = end > start && buffer[end - 1] === CARRIAGE_RETURN ? end - 1 : end;
    visit(buffer, bom ? start + 3 : start, stop, ++line, offset);
    offset += end - start + 1;
  };
  for await (const chunk of readBytes(path)) {
    const buffer: Buffer = rest === undefined ? chunk : Buffer.concat([rest, chunk]);
    let start = 0;
    for (let end = buffer.indexOf(NEWLINE); end >= 0; end = buffer.indexOf(NEWLINE, start)) {
      emit(buffer, start, end);
      start = end + 1;
    }
    rest = start < buffer.length ? buffer.subarray(start) : undefined;
  }
  if (rest !== undefined) emit(rest, 0, rest.length);
}

/** Formats a place in a file for messages: `path:line`. */
export const placeOf = (path: string, line: number): string => `${path === STDIN ? 'standard input' : path}:${line}`;

/** Returns an `invalid_input` error for one line of a file. */
export function badLine(path: string, line: number, expected: string, got: string): WinnowError {
  return new WinnowError('invalid_input', { where: placeOf(path, line), expected, got });
}
