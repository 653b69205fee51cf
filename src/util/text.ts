import { isUtf8 } from 'node:buffer';
import { closeSync, createReadStream, openSync, readSync } from 'node:fs';
import { WinnowError } from '../errors.ts';
import { readBytes, STDIN } from './bytes.ts';

const NEWLINE = 10;
const MIB = 2 ** 20;

/** Most bytes of a text file that is read whole, unpacked: half the longest string of V8, and far above what people write in one file. */
const TEXT_BYTES = 256 * MIB;

/** Formats a path for messages. */
export const sourceName = (path: string): string => (path === STDIN ? 'standard input' : path);

/** Formats a place in a file for messages: `path:line`. */
export const placeOf = (path: string, line: number): string => `${sourceName(path)}:${line}`;

/** Returns an `invalid_input` error for one line of a file. */
export function badLine(path: string, line: number, expected: string, got: string): WinnowError {
  return new WinnowError('invalid_input', { where: placeOf(path, line), expected, got });
}

/** Returns the error for a line that is not UTF-8. Decoded anyway, two ids could become one and an id another. */
export const notUtf8 = (path: string, line: number): WinnowError =>
  badLine(path, line, 'UTF-8', 'bytes of another encoding');

const tooLong = (path: string, limit: number): WinnowError =>
  new WinnowError('invalid_input', {
    where: sourceName(path),
    expected: `at most ${limit / MIB} MiB`,
    got: 'more',
  });

/** Finds the first line of UTF-8-invalid bytes: where it starts, and how many lines lie before it. */
export function firstBadLine(bytes: Buffer): { readonly start: number; readonly linesBefore: number } {
  let start = 0;
  let linesBefore = 0;
  for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
    if (!isUtf8(bytes.subarray(start, end))) break;
    start = end + 1;
    linesBefore++;
  }
  return { start, linesBefore };
}

/** Decodes a whole file and removes its byte-order mark. @throws WinnowError `invalid_input` with the line that is not UTF-8. */
function decode(path: string, bytes: Buffer): string {
  if (!isUtf8(bytes)) throw notUtf8(path, firstBadLine(bytes).linesBefore + 1);
  return bytes.toString('utf8').replace(/^\ufeff/, '');
}

/**
 * Reads a whole text file or standard input (`-`), unpacked, without its byte-order mark.
 *
 * @param limit most bytes, unpacked; no more is read.
 * @throws WinnowError `invalid_input` if the file cannot be read, is longer than `limit` or is not UTF-8.
 */
export async function readText(path: string, limit = TEXT_BYTES): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of readBytes(path)) {
    length += chunk.length;
    if (length > limit) throw tooLong(path, limit);
    chunks.push(chunk);
  }
  return decode(path, Buffer.concat(chunks));
}

/** Reads a whole text file as `readTextSync` does, in turns of the event loop. */
export async function readTextFile(path: string, limit: number): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of createReadStream(path, { end: limit })) chunks.push(chunk as Buffer);
  const bytes = Buffer.concat(chunks);
  if (bytes.length > limit) throw tooLong(path, limit);
  return decode(path, bytes);
}

/**
 * Reads a whole text file like `readText`, without a turn of the event loop and without unpacking.
 *
 * @throws WinnowError `invalid_input` as `readText`; the system's own error where the file cannot be read.
 */
export function readTextSync(path: string, limit: number): string {
  const bytes = Buffer.allocUnsafe(limit + 1);
  let length = 0;
  const file = openSync(path, 'r');
  try {
    for (let got = 1; got > 0 && length <= limit; ) {
      got = readSync(file, bytes, length, bytes.length - length, null);
      length += got;
    }
  } finally {
    closeSync(file);
  }
  if (length > limit) throw tooLong(path, limit);
  return decode(path, bytes.subarray(0, length));
}
