import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, type ZlibOptions } from 'node:zlib';

/** Flushes a folder's entries, so that a rename inside it survives a power cut. */
async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Writes `path` so that a reader sees the old bytes or the new ones, never a part: temporary file beside it, fsync, rename, fsync of
 * the folder. Makes missing folders.
 */
export async function writeFileAtomic(path: string, data: string | Uint8Array): Promise<void> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true });
  const temporary = join(folder, `.${basename(path)}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`);
  const handle = await open(temporary, 'wx');
  try {
    await handle.writeFile(data);
    await handle.sync();
  } finally {
    await handle.close();
  }
  try {
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(folder);
}

/**
 * Builds a whole folder and puts it in place by one rename: `fill` gets a temporary sibling folder to write into. If `fill` throws,
 * nothing is left. `path` must not exist (rename of folders does not replace).
 */
export async function writeFolderAtomic(path: string, fill: (temporary: string) => Promise<void>): Promise<void> {
  const parent = dirname(path);
  await mkdir(parent, { recursive: true });
  const temporary = join(parent, `.${basename(path)}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`);
  await mkdir(temporary);
  try {
    await fill(temporary);
    await syncFolder(temporary);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
  await syncFolder(parent);
}

/** Read at once where a whole file goes by: models are hashed at start, and every read waits for a turn of a busy event loop. */
const CHUNK_BYTES = 1 << 20;

/** SHA-256 of a file in lower-case hex, read as a stream. */
export async function sha256File(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: CHUNK_BYTES }), hash);
  return hash.digest('hex');
}

export interface NumberedLine {
  /** 1-based, for error messages. */
  readonly line: number;
  readonly text: string;
}

/**
 * What a stream of gzip bytes holds. Failures of either end come out of the stream that is returned; whoever stops reading early closes
 * both.
 */
export function gunzipped(raw: Readable, options: ZlibOptions = {}): Readable {
  const unpacked = createGunzip(options);
  raw.on('error', (error) => unpacked.destroy(error));
  // Leaving a `for await` early destroys the stream with an AbortError that nobody waits for any more: unheard, it would end the process.
  unpacked.on('error', () => {});
  unpacked.on('close', () => raw.destroy());
  return raw.pipe(unpacked);
}

/**
 * The lines of a text file one by one in constant memory; `.gz` files are unpacked on the way. Empty lines are kept. Only line feeds (with
 * or without a carriage return) end a line: node:readline also splits at U+2028, which JSON may hold.
 */
export async function* readLines(path: string): AsyncGenerator<NumberedLine> {
  const raw = createReadStream(path);
  const input = path.endsWith('.gz') ? gunzipped(raw) : raw;
  const decoder = new TextDecoder();
  let line = 0;
  let rest = '';
  for await (const chunk of input as AsyncIterable<Uint8Array>) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = parts.pop()!;
    for (const part of parts) yield { line: ++line, text: part.endsWith('\r') ? part.slice(0, -1) : part };
  }
  rest += decoder.decode();
  if (rest !== '') yield { line: ++line, text: rest.replace(/\r$/, '') };
}

export async function readJson(path: string): Promise<unknown> {
  return JSON.parse(await readFile(path, 'utf8'));
}
