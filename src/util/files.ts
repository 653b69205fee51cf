import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, open, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { sweepLeftovers } from './leftovers.ts';
import { removeAtExit } from './remove-at-exit.ts';

/** Flushes a file, or a folder's entries so that a rename inside it survives a power cut. */
async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Adds a path to an error of the file system that has none, such as that of a write to a full disk. */
export async function namingPath<T>(path: string, work: Promise<T>): Promise<T> {
  return work.catch((error: NodeJS.ErrnoException) => {
    if (error.syscall !== undefined) error.path ??= path;
    throw error;
  });
}

/**
 * Calls `work` with an unused hidden path next to `path`, where it may build a file or a folder, and removes what is there at the end. Makes
 * missing folders. What a kill leaves is removed by a later writer.
 */
export async function withTemporary<T>(path: string, work: (temporary: string) => Promise<T>): Promise<T> {
  const parent = dirname(path);
  await mkdir(parent, { recursive: true });
  await sweepLeftovers(parent);
  const temporary = join(parent, `.${basename(path)}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`);
  try {
    return await work(temporary);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/**
 * Lets `fill` write a temporary sibling of `path`, flushes it and renames it into place, so that readers see the old bytes or the new ones,
 * never a part. Makes missing folders. If anything fails, nothing is left; what a kill leaves is removed by a later writer.
 */
export async function replaceAtomic(path: string, fill: (temporary: string) => Promise<void>): Promise<void> {
  await withTemporary(path, async (temporary) => {
    await namingPath(path, fill(temporary));
    await namingPath(path, sync(temporary));
    await rename(temporary, path);
  });
  await sync(dirname(path));
}

/** Writes a file by `replaceAtomic`. */
export const writeFileAtomic = (path: string, data: string | Uint8Array): Promise<void> =>
  replaceAtomic(path, (temporary) => writeFile(temporary, data, { flag: 'wx' }));

/** Builds a folder by `replaceAtomic`; `fill` receives an empty one. `path` must not exist: a rename does not replace a folder. */
export const writeFolderAtomic = (path: string, fill: (temporary: string) => Promise<void>): Promise<void> =>
  replaceAtomic(path, async (temporary) => {
    await mkdir(temporary);
    await fill(temporary);
  });

interface TemporaryFolder extends AsyncDisposable {
  readonly path: string;
  remove(): Promise<void>;
}

/**
 * Makes an empty folder among the system's temporary files. The caller removes it (`await using`), as does a signal that ends the process;
 * what a kill leaves is removed by a later process.
 *
 * @param purpose a word of lower-case letters, part of its name.
 */
export async function temporaryFolder(purpose: string): Promise<TemporaryFolder> {
  await sweepLeftovers(tmpdir());
  const path = await mkdtemp(join(tmpdir(), `winnow-${purpose}-${process.pid}-`));
  const keep = removeAtExit(path);
  const remove = async () => {
    await rm(path, { recursive: true, force: true });
    keep();
  };
  return { path, remove, [Symbol.asyncDispose]: remove };
}

/** Bytes read at once for hashing: models are hashed at start, and every read waits for a turn of a busy event loop. */
const CHUNK_BYTES = 1 << 20;

/** Returns the SHA-256 of a file in lower-case hex, read as a stream. */
export async function sha256File(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: CHUNK_BYTES }), hash);
  return hash.digest('hex');
}
