import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { WinnowError } from '../errors.ts';

/** The path that stands for standard input. */
export const STDIN = '-';

const CHUNK_BYTES = 1 << 20;

/** Returns an `invalid_input` error that names the file for a failure of the file system, of gzip or of Zstandard. */
export function unreadable(path: string, error: unknown): WinnowError {
  const { code, message } = error as NodeJS.ErrnoException;
  const got = code === 'ENOENT' ? 'no such file' : code === 'EISDIR' ? 'a folder' : message;
  return new WinnowError('invalid_input', { where: path, expected: 'a readable file', got }, { cause: error });
}

/**
 * Unpacks a stream of gzip bytes. The stream returned carries the failures of both ends; destroying it, as leaving a `for await` early
 * does, closes both.
 */
export function gunzipped(raw: Readable, chunkSize = CHUNK_BYTES): Readable {
  const unpacked = createGunzip({ chunkSize });
  raw.on('error', (error) => unpacked.destroy(error));
  // Leaving a `for await` early destroys the stream with an AbortError that no iterator awaits any more: unhandled, it would end the process.
  unpacked.on('error', () => {});
  unpacked.on('close', () => raw.destroy());
  return raw.pipe(unpacked);
}

/**
 * Yields what a file of Zstandard frames holds; one frame may follow another. A decompressor ends with its frame and knows how much it has
 * read, so each frame is read from where the one before ended.
 */
async function* zstdFrames(path: string, chunkSize: number): AsyncGenerator<Buffer> {
  const { size } = await stat(path);
  for (let start = 0; start < size; ) {
    const frame = createZstdDecompress({ chunkSize });
    const raw = createReadStream(path, { start, highWaterMark: chunkSize });
    raw.on('error', (error) => frame.destroy(error));
    frame.on('error', () => {});
    frame.on('close', () => raw.destroy());
    yield* raw.pipe(frame) as AsyncIterable<Buffer>;
    if (frame.bytesWritten === 0)
      throw new WinnowError('invalid_input', {
        where: path,
        expected: 'Zstandard',
        got: `other bytes from ${start} on`,
      });
    start += frame.bytesWritten;
  }
}

const ARROW = 'Arrow; write it as JSON lines, such as by the `to_json` of Hugging Face datasets';

/** Binary formats by their first bytes (as Latin-1), and what to do with such a file. Text that begins with the same letters is none. */
const BINARY: readonly (readonly [start: string, got: string])[] = [
  // The byte after the letters is the first field of a page's header.
  ['PAR1\x15', "Parquet; write it as JSON lines, such as with duckdb -c \"COPY (FROM 'x.parquet') TO 'x.jsonl'\""],
  ['ARROW1\0\0', ARROW],
  // A stream begins with a length of -1.
  ['\xff\xff\xff\xff', ARROW],
  ['\x1f\x9d', 'a file of `compress`; unpack it with gzip -d'],
  ['\x1f\xa0', 'a file of `compress -H`; unpack it with gzip -d'],
  ...Array.from({ length: 9 }, (_, i) => [`BZh${i + 1}1AY&SY`, 'bzip2; unpack it with bzip2 -d'] as const),
  ['\xfd7zXZ\0', 'xz; unpack it with xz -d'],
  ['PK\x03\x04', 'zip; unpack it with unzip'],
];

const ZSTD = '\x28\xb5\x2f\xfd';

/**
 * Returns how a stream is packed, by its first bytes; undefined for plain text. Peeks, so pipes work as files do.
 *
 * @throws WinnowError `invalid_input` if it starts as a binary format does.
 */
async function packingOf(path: string, raw: Readable): Promise<'gzip' | 'zstd' | undefined> {
  await once(raw, 'readable');
  const head = raw.read() as Buffer | null;
  if (head === null) return undefined;
  const start = head.toString('latin1', 0, 16);
  const isZstd = start.startsWith(ZSTD);
  const unseekable = isZstd && !(path !== STDIN && (await stat(path)).isFile());
  const got = unseekable
    ? 'Zstandard in a pipe; unpack it with zstd -d'
    : BINARY.find(([magic]) => start.startsWith(magic))?.[1];
  if (got !== undefined) {
    raw.destroy();
    throw new WinnowError('invalid_input', { where: path, expected: 'text, or text in gzip or Zstandard', got });
  }
  raw.unshift(head);
  if (isZstd) return 'zstd';
  return start.startsWith('\x1f\x8b') ? 'gzip' : undefined;
}

/** Yields the unpacked bytes of an opened file. */
function contents(path: string, raw: Readable, packing: 'gzip' | 'zstd' | undefined, chunkBytes: number) {
  if (packing === undefined) return raw as AsyncIterable<Buffer>;
  if (packing === 'gzip') return gunzipped(raw, chunkBytes) as AsyncIterable<Buffer>;
  raw.destroy();
  return zstdFrames(path, chunkBytes);
}

/**
 * Reads the first bytes of a file, unpacked: fewer than `bytes` only if the file has no more.
 *
 * @throws WinnowError `invalid_input` if the file cannot be read, or is of a binary format.
 */
export async function readHead(
  path: string,
  bytes: number,
): Promise<{ readonly head: Buffer; readonly packed: boolean }> {
  try {
    const raw = createReadStream(path, { highWaterMark: Math.min(bytes, CHUNK_BYTES) });
    const packing = await packingOf(path, raw);
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of contents(path, raw, packing, CHUNK_BYTES)) {
      chunks.push(chunk);
      length += chunk.length;
      if (length >= bytes) break;
    }
    return { head: Buffer.concat(chunks).subarray(0, bytes), packed: packing !== undefined };
  } catch (error) {
    throw error instanceof WinnowError ? error : unreadable(path, error);
  }
}

/**
 * Yields the bytes of a file, or of standard input for `-`, in chunks of at most `chunkBytes`. Gzip and Zstandard are known by their
 * first bytes, whatever the name says, and unpacked.
 *
 * @throws WinnowError `invalid_input` if the file cannot be read.
 */
export async function* readBytes(path: string, chunkBytes = CHUNK_BYTES): AsyncGenerator<Buffer> {
  try {
    const raw = path === STDIN ? process.stdin : createReadStream(path, { highWaterMark: chunkBytes });
    yield* contents(path, raw, await packingOf(path, raw), chunkBytes);
  } catch (error) {
    throw error instanceof WinnowError ? error : unreadable(path, error);
  }
}
