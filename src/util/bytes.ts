import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { WinnowError } from '../errors.ts';

/** The path that stands for standard input. */
export const STDIN = '-';

const CHUNK_BYTES = 1 << 20;

/** Returns an `invalid_input` error that names the file for a failure of the file system or of gzip. */
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
  ['\x28\xb5\x2f\xfd', 'Zstandard; unpack it with zstd -d'],
  ['PK\x03\x04', 'zip; unpack it with unzip'],
];

/**
 * Tells whether a stream starts with gzip's magic bytes. Peeks, so pipes work as files do.
 *
 * @throws WinnowError `invalid_input` if it starts as a binary format does.
 */
async function isPacked(path: string, raw: Readable): Promise<boolean> {
  await once(raw, 'readable');
  const head = raw.read() as Buffer | null;
  if (head === null) return false;
  const start = head.toString('latin1', 0, 16);
  const got = BINARY.find(([magic]) => start.startsWith(magic))?.[1];
  if (got !== undefined) {
    raw.destroy();
    throw new WinnowError('invalid_input', { where: path, expected: 'text, or text in gzip', got });
  }
  raw.unshift(head);
  return head[0] === 0x1f && head[1] === 0x8b;
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
    const packed = await isPacked(path, raw);
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of (packed ? gunzipped(raw) : raw) as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      length += chunk.length;
      if (length >= bytes) break;
    }
    return { head: Buffer.concat(chunks).subarray(0, bytes), packed };
  } catch (error) {
    throw error instanceof WinnowError ? error : unreadable(path, error);
  }
}

/**
 * Yields the bytes of a file, or of standard input for `-`, in chunks of at most `chunkBytes`. Gzip is known by its first bytes, whatever
 * the name says, and unpacked.
 *
 * @throws WinnowError `invalid_input` if the file cannot be read.
 */
export async function* readBytes(path: string, chunkBytes = CHUNK_BYTES): AsyncGenerator<Buffer> {
  try {
    const raw = path === STDIN ? process.stdin : createReadStream(path, { highWaterMark: chunkBytes });
    yield* ((await isPacked(path, raw)) ? gunzipped(raw, chunkBytes) : raw) as AsyncIterable<Buffer>;
  } catch (error) {
    throw error instanceof WinnowError ? error : unreadable(path, error);
  }
}
