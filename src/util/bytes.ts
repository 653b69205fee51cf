import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { WinnowError } from '../errors.ts';
import { gunzipped } from './files.ts';

/** The path that stands for standard input. */
export const STDIN = '-';

const CHUNK = 1 << 20;
const NEWLINE = 10;

const isGzip = (head: Uint8Array): boolean => head[0] === 0x1f && head[1] === 0x8b;

/** Turns a failure of the file system or of gzip into one that names the file. */
export function unreadable(path: string, error: unknown): WinnowError {
  const { code, message } = error as NodeJS.ErrnoException;
  const got = code === 'ENOENT' ? 'no such file' : code === 'EISDIR' ? 'a folder' : message;
  return new WinnowError('invalid_input', { where: path, expected: 'a readable file', got }, { cause: error });
}

async function headOf(path: string): Promise<Uint8Array> {
  const handle = await open(path, 'r');
  try {
    const head = new Uint8Array(2);
    await handle.read(head, 0, 2, 0);
    return head;
  } finally {
    await handle.close();
  }
}

/** Standard input, unpacked where its first bytes are those of gzip. */
async function* stdinBytes(): AsyncGenerator<Buffer> {
  const chunks = process.stdin[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  const first = await chunks.next();
  if (first.done) return;
  const all = async function* (): AsyncGenerator<Buffer> {
    yield first.value;
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) yield next.value;
  };
  if (!isGzip(first.value)) return yield* all();
  yield* gunzipped(Readable.from(all())) as AsyncIterable<Buffer>;
}

async function fileBytes(path: string): Promise<AsyncIterable<Buffer>> {
  const packed = isGzip(await headOf(path));
  const raw = createReadStream(path, { highWaterMark: CHUNK });
  return packed ? gunzipped(raw, { chunkSize: CHUNK }) : raw;
}

/**
 * The bytes of a file, or of standard input for `-`; gzip is known by its first bytes, whatever the name says.
 *
 * @throws WinnowError `invalid_input` where the file cannot be read.
 */
export async function* readBytes(path: string): AsyncGenerator<Buffer> {
  try {
    yield* path === STDIN ? stdinBytes() : await fileBytes(path);
  } catch (error) {
    throw error instanceof WinnowError ? error : unreadable(path, error);
  }
}

/**
 * Takes one line: its bytes lie in `buffer` from `start` to `end`, without the line break, and are only valid during the call. `line`
 * counts from 1, `offset` is where the line starts in the (unpacked) file.
 */
export type LineVisitor = (buffer: Buffer, start: number, end: number, line: number, offset: number) => void;

/** Calls `visit` for every line of a file without making an object a line. A byte-order mark and `\r\n` are taken off. */
export async function scanLines(path: string, visit: LineVisitor): Promise<void> {
  let rest: Buffer | undefined;
  let line = 0;
  let offset = 0;
  const emit = (buffer: Buffer, start: number, end: number): void => {
    const bom = line === 0 && buffer[start] === 0xef && buffer[start + 1] === 0xbb && buffer[start + 2] === 0xbf;
    const stop = end > start && buffer[end - 1] === 13 ? end - 1 : end;
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

/** The lines of a file one by one, for readers that wait between lines. Only `\n` ends a line: JSON may hold U+2028 as it is. */
export async function* iterateLines(path: string): AsyncGenerator<{ readonly line: number; readonly text: string }> {
  let line = 0;
  let rest = Buffer.alloc(0);
  const clean = (bytes: Buffer): string => {
    const text = bytes.toString('utf8').replace(/\r$/, '');
    return line === 1 && text.startsWith('\ufeff') ? text.slice(1) : text;
  };
  for await (const chunk of readBytes(path)) {
    const buffer = Buffer.concat([rest, chunk]);
    let start = 0;
    for (let end = buffer.indexOf(NEWLINE); end >= 0; end = buffer.indexOf(NEWLINE, start)) {
      yield { line: ++line, text: clean(buffer.subarray(start, end)) };
      start = end + 1;
    }
    rest = buffer.subarray(start);
  }
  if (rest.length > 0) yield { line: ++line, text: clean(rest) };
}

/** The whole text of a file, unpacked. */
export async function readText(path: string): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of readBytes(path)) chunks.push(chunk);
  return Buffer.concat(chunks)
    .toString('utf8')
    .replace(/^\ufeff/, '');
}

export const at = (path: string, line: number): string => `${path === STDIN ? 'standard input' : path}:${line}`;

/** An `invalid_input` for one line of a file. */
export function badLine(path: string, line: number, expected: string, got: string): WinnowError {
  return new WinnowError('invalid_input', { where: at(path, line), expected, got });
}
