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

/** Tells whether a stream starts with gzip's magic bytes. Peeks, so pipes work as files do. */
async function isPacked(raw: Readable): Promise<boolean> {
  await once(raw, 'readable');
  const head = raw.read() as Buffer | null;
  if (head !== null) raw.unshift(head);
  return head?.[0] === 0x1f && head[1] === 0x8b;
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
    yield* ((await isPacked(raw)) ? gunzipped(raw, chunkBytes) : raw) as AsyncIterable<Buffer>;
  } catch (error) {
    throw error instanceof WinnowError ? error : unreadable(path, error);
  }
}
