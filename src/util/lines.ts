import { isUtf8 } from 'node:buffer';
import { readBytes } from './bytes.ts';
import { badLine, firstBadLine, notUtf8 } from './text.ts';

const NEWLINE = 10;
const CARRIAGE_RETURN = 13;

/** Bytes read at once where lines become strings: short, because a slice of a line keeps the whole decoded chunk in memory. */
const CHUNK_BYTES = 1 << 16;

/** Most bytes of one line. A packed file of a few kilobytes can hold a line of any length. */
const LINE_MIB = 64;

interface NumberedLine {
  /** Counted from 1, for error messages. */
  readonly line: number;
  readonly text: string;
}

/**
 * Yields the bytes of a file in blocks of whole lines, valid UTF-8; only the last block may lack its line break. A line that lies in many
 * chunks is searched and copied once.
 *
 * @param linesBefore how many lines the caller has taken from earlier blocks, for messages.
 * @throws WinnowError `invalid_input` after the block before a line that is too long or not UTF-8.
 */
async function* readBlocks(
  path: string,
  chunkBytes: number | undefined,
  linesBefore: () => number,
): AsyncGenerator<Buffer> {
  let rest: Buffer[] = [];
  let restBytes = 0;
  async function* checked(block: Buffer): AsyncGenerator<Buffer> {
    if (isUtf8(block)) return yield block;
    const { start } = firstBadLine(block);
    if (start > 0) yield block.subarray(0, start);
    throw notUtf8(path, linesBefore() + 1);
  }
  for await (const chunk of readBytes(path, chunkBytes)) {
    const first = chunk.indexOf(NEWLINE);
    if (restBytes + (first < 0 ? chunk.length : first) > LINE_MIB * 2 ** 20)
      throw badLine(path, linesBefore() + 1, `a line of at most ${LINE_MIB} MiB`, 'more');
    const end = first < 0 ? 0 : chunk.lastIndexOf(NEWLINE) + 1;
    if (end > 0) {
      const whole = chunk.subarray(0, end);
      yield* checked(rest.length > 0 ? Buffer.concat([...rest, whole]) : whole);
      [rest, restBytes] = [[], 0];
    }
    if (end < chunk.length) rest.push(chunk.subarray(end));
    restBytes += chunk.length - end;
  }
  if (restBytes > 0) yield* checked(Buffer.concat(rest));
}

/**
 * Yields the lines of a file one by one in constant memory, empty ones included; `-` is standard input. Gzip and Zstandard are unpacked and a byte-order
 * mark removed. Only `\n` or `\r\n` ends a line: node:readline also splits at U+2028, which JSON may hold.
 *
 * @throws WinnowError `invalid_input` if the file cannot be read, or for a line of more than 64 MiB or that is not UTF-8.
 */
export async function* readLines(path: string): AsyncGenerator<NumberedLine> {
  let line = 0;
  for await (const block of readBlocks(path, CHUNK_BYTES, () => line)) {
    const text = block.toString('utf8');
    const parts = (line === 0 ? text.replace(/^\ufeff/, '') : text).split('\n');
    if (parts.at(-1) === '') parts.pop();
    for (const part of parts) yield { line: ++line, text: part.endsWith('\r') ? part.slice(0, -1) : part };
  }
}

/**
 * Receives one line as bytes: they lie in `buffer` from `start` to `end`, without the line break, and are only valid during the call.
 * `line` counts from 1, `offset` is where the line starts in the (unpacked) file.
 */
type LineVisitor = (buffer: Buffer, start: number, end: number, line: number, offset: number) => void;

/**
 * Calls `visit` for every line of a file without allocating per line, under the rules of `readLines`.
 *
 * @throws WinnowError `invalid_input` as `readLines`.
 */
export async function scanLines(path: string, visit: LineVisitor): Promise<void> {
  let line = 0;
  let offset = 0;
  const emit = (buffer: Buffer, start: number, end: number): void => {
    const bom = line === 0 && buffer[start] === 0xef && buffer[start + 1] === 0xbb && buffer[start + 2] === 0xbf;
    const stop = end > start && buffer[end - 1] === CARRIAGE_RETURN ? end - 1 : end;
    visit(buffer, bom ? start + 3 : start, stop, ++line, offset);
    offset += end - start + 1;
  };
  for await (const block of readBlocks(path, undefined, () => line)) {
    let start = 0;
    for (let end = block.indexOf(NEWLINE); end >= 0; end = block.indexOf(NEWLINE, start)) {
      emit(block, start, end);
      start = end + 1;
    }
    if (start < block.length) emit(block, start, block.length);
  }
}
