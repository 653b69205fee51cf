import { createHash, randomBytes } from 'node:crypto';
import { copyFile, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { freeBytesOf } from '../../util/disk-space.ts';
import { writeFileAtomic } from '../../util/files.ts';
import { isRunning } from '../../util/processes.ts';
import { type DownloadOptions, diskFault, download, makeFolder } from '../download.ts';
import { isName } from '../model-names.ts';
import { type HubFile, hubFault, hubFetch, SHA256 } from './hub-client.ts';
import { fileUrl, type HubReference, type HubSettings } from './hub-settings.ts';

/*
 * A repository's part of the hub's cache, in huggingface_hub's layout, so that Python programs find what was loaded here and the reverse:
 * `blobs/<content>` are the files, `snapshots/<commit>/<path>` links to them, `refs/<branch>` the commit of a branch.
 */

export interface StoreOptions {
  readonly hub: HubSettings;
  readonly startProgress: DownloadOptions['startProgress'];
  readonly maxBytes: number;
  readonly retryMs?: number | undefined;
  readonly idleMs?: number | undefined;
  /** Returns the bytes that a folder's disk has left. Default: the file system's answer. */
  readonly freeBytes?: ((folder: string) => Promise<number>) | undefined;
}

/** A repository in the cache. */
export interface HubStore {
  readonly reference: HubReference;
  readonly folder: string;
}

export const openStore = (reference: HubReference, { cache }: HubSettings): HubStore => ({
  reference,
  folder: join(cache, `models--${reference.id.replaceAll('/', '--')}`),
});

export const snapshotFolder = ({ folder }: HubStore, commit: string): string => join(folder, 'snapshots', commit);

const sizeIn = async (path: string): Promise<number | undefined> => {
  const facts = await stat(path).catch(() => undefined);
  return facts?.isFile() ? facts.size : undefined;
};

/** Whether a file is there, with its size where that is known. */
async function isWhole(path: string, bytes: number | undefined): Promise<boolean> {
  const size = await sizeIn(path);
  return size !== undefined && (bytes === undefined || bytes === size);
}

/** Returns the commit that the cache has for a revision, if its snapshot is there. */
export async function cachedCommit(store: HubStore): Promise<string | undefined> {
  const { revision } = store.reference;
  const ref = await readFile(join(store.folder, 'refs', revision), 'utf8').catch(() => revision);
  const commit = ref.trim();
  const facts = isName(commit) ? await stat(snapshotFolder(store, commit)).catch(() => undefined) : undefined;
  return facts?.isDirectory() ? commit : undefined;
}

/** Returns the files of a snapshot, as far as they were loaded. */
export async function cachedFiles(store: HubStore, commit: string): Promise<ReadonlySet<string>> {
  const folder = snapshotFolder(store, commit);
  const names = await readdir(folder, { recursive: true });
  const sizes = await Promise.all(names.map((name) => sizeIn(join(folder, name))));
  return new Set(names.filter((_, i) => sizes[i] !== undefined));
}

/** Records which commit a branch or tag is. */
export async function writeRef({ folder, reference }: HubStore, commit: string): Promise<void> {
  if (reference.revision !== commit) await writeFileAtomic(join(folder, 'refs', reference.revision), commit);
}

/** What the hub says of a file's content. */
interface Content {
  /** Name of the blob. */
  readonly name: string;
  readonly sha256: string | undefined;
  readonly bytes: number | undefined;
}

/** Files that large-file storage has, whose hash is known. */
const WEIGHTS = /\.(safetensors|bin|onnx|onnx_data|data)$/;
/** Other answers to HEAD only mean that the server does not know the method. */
const REFUSALS = new Set([401, 403, 404]);

/** Returns the content of a file by the listing, else by the headers of its address. */
async function contentOf(store: HubStore, file: HubFile, url: string, { hub }: StoreOptions): Promise<Content> {
  const { sha256, bytes } = file;
  const isSmall = bytes !== undefined && !WEIGHTS.test(file.path);
  const listed = sha256 ?? (isSmall ? file.oid : undefined);
  if (listed !== undefined) return { name: listed, sha256, bytes };
  const response = await hubFetch(hub, url, { method: 'HEAD', isOwnOnly: true, signal: AbortSignal.timeout(30_000) });
  await response.body?.cancel();
  if (REFUSALS.has(response.status)) throw hubFault(store.reference, hub, url, response);
  const linked = unquoted(response.headers.get('x-linked-etag'));
  const tag = linked ?? unquoted(response.headers.get('etag')) ?? url;
  // A redirect has a body of its own.
  const own = response.ok ? response.headers.get('content-length') : null;
  const size = response.headers.get('x-linked-size') ?? own;
  return {
    name: isName(tag) ? tag : createHash('sha256').update(tag).digest('hex'),
    sha256: linked !== undefined && SHA256.test(linked) ? linked : undefined,
    bytes: bytes ?? (size === null || response.headers.has('content-encoding') ? undefined : Number(size)),
  };
}

const unquoted = (tag: string | null): string | undefined => tag?.replace(/^W\//, '').replaceAll('"', '') || undefined;

/** Returns the file of a snapshot, loading it where the cache lacks it. */
export async function loadFile(store: HubStore, commit: string, file: HubFile, options: StoreOptions): Promise<string> {
  const path = join(snapshotFolder(store, commit), file.path);
  if (await isWhole(path, file.bytes)) return path;
  const url = fileUrl({ id: store.reference.id, revision: commit }, options.hub.endpoint, file.path);
  const content = await contentOf(store, file, url, options);
  const blob = join(store.folder, 'blobs', content.name);
  if (!(await isWhole(blob, content.bytes))) await loadBlob(store, blob, url, content, options);
  await link(blob, path).catch((error: unknown) => {
    throw diskFault(error, path) ?? error;
  });
  return path;
}

async function loadBlob(
  { reference }: HubStore,
  blob: string,
  url: string,
  { sha256, bytes }: Content,
  options: StoreOptions,
): Promise<void> {
  const { hub, startProgress, maxBytes, retryMs, idleMs } = options;
  await makeFolder(dirname(blob));
  const done = (await sizeIn(`${blob}.incomplete`)) ?? 0;
  if (bytes !== undefined) await checkSpace(dirname(blob), bytes - done, options);
  const isMine = await lock(blob);
  try {
    await download(url, blob, {
      fetch: (to, init) => hubFetch(hub, to, init),
      headers: {},
      maxBytes,
      startProgress,
      sha256,
      bytes,
      part: isMine ? `${blob}.incomplete` : `${blob}.${randomBytes(4).toString('hex')}.incomplete`,
      fault: (to, response) => hubFault(reference, hub, to, response),
      retryMs,
      idleMs,
    });
    await checkSize(blob, url, bytes);
  } finally {
    if (isMine) await rm(lockOf(blob), { force: true });
  }
}

/** Compares the size of what came with that of the listing. */
async function checkSize(blob: string, url: string, bytes: number | undefined): Promise<void> {
  const got = await sizeIn(blob);
  if (bytes === undefined || got === bytes) return;
  await rm(blob, { force: true });
  throw new WinnowError('invalid_input', { where: url, expected: `${bytes} bytes, as listed`, got: `${got}` });
}

async function checkSpace(folder: string, bytes: number, { freeBytes = freeBytesOf }: StoreOptions): Promise<void> {
  const free = await freeBytes(folder);
  if (free >= bytes) return;
  const error = Object.assign(new Error(`${free} bytes are left of ${bytes}`), { code: 'ENOSPC' });
  throw diskFault(error, folder)!;
}

const lockOf = (blob: string): string => `${blob}.winnow-lock`;

/** Reserves the part of a blob for this process. @returns false where another process loads it, which then has a part of its own. */
async function lock(blob: string): Promise<boolean> {
  const path = lockOf(blob);
  for (const again of [true, false])
    try {
      await writeFile(path, String(process.pid), { flag: 'wx' });
      return true;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST'))
        throw diskFault(error, path) ?? error;
      const owner = Number(await readFile(path, 'utf8').catch(() => ''));
      if (!again || (Number.isSafeInteger(owner) && owner > 0 && isRunning(owner))) return false;
      await rm(path, { force: true });
    }
  return false;
}

/** Puts a link to a blob in place; a copy where the file system has no links, as huggingface_hub does. */
async function link(blob: string, path: string): Promise<void> {
  await makeFolder(dirname(path));
  const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`;
  await symlink(relative(dirname(path), blob), temporary).catch(() => copyFile(blob, temporary));
  await rename(temporary, path);
}
