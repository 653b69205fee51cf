import { constants } from 'node:fs';
import { copyFile, link, lstat, mkdir, readdir, readFile, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { WinnowError } from '../errors.ts';
import { type FolderLimits, type LinkRule, listFiles } from './folder-files.ts';
import { excerpt, isName } from './model-names.ts';

/*
 * The cache that huggingface_hub fills: `models--org--name/` with `snapshots/<revision>/` (links), `blobs/` (their targets) and
 * `refs/<branch>` (revisions). Source: huggingface_hub, "Understand caching".
 */

const CACHE_NAME = /^models--(.+)$/;

/** One revision of a model in a cache. */
interface Snapshot {
  readonly folder: string;
  /** The only folder that links of the snapshot may lead to; resolved. */
  readonly blobs: string;
  /** `org/name@revision`. */
  readonly origin: string;
}

const isFolder = async (path: string) => (await lstat(path).catch(() => undefined))?.isDirectory() ?? false;

/** Whether a folder is a model's part of the hub's cache. */
export const isHubCache = async (folder: string): Promise<boolean> =>
  (await isFolder(join(folder, 'snapshots'))) && (await isFolder(join(folder, 'blobs')));

const namesIn = async (folder: string) => (await readdir(folder).catch(() => [])).filter(isName);

/** Returns the revision of a cache that is meant where none is named: that of `main`, else the only one. */
async function revisionOf(cache: string): Promise<string> {
  const main = await readFile(join(cache, 'refs', 'main'), 'utf8').catch(() => '');
  const revisions = await namesIn(join(cache, 'snapshots'));
  if (revisions.includes(main.trim())) return main.trim();
  if (revisions.length === 1) return revisions[0]!;
  const got = revisions.map((revision) => `snapshots/${revision}`).join(', ') || 'no snapshot';
  throw new WinnowError('invalid_input', { where: cache, expected: 'one snapshot, or refs/main to name one', got });
}

async function snapshotIn(cache: string, revision: string): Promise<Snapshot> {
  const name = CACHE_NAME.exec(basename(cache))?.[1] ?? basename(cache);
  return {
    folder: join(cache, 'snapshots', revision),
    blobs: await realpath(join(cache, 'blobs')),
    origin: `${name.replace('--', '/')}@${revision}`,
  };
}

/**
 * Returns the snapshot that a resolved path means: `…/snapshots/<revision>` itself, or a model's part of a cache. Undefined for other
 * folders.
 * @throws WinnowError `invalid_input` for a cache of several models or revisions.
 */
export async function findSnapshot(folder: string): Promise<Snapshot | undefined> {
  const cache = dirname(dirname(folder));
  if (basename(dirname(folder)) === 'snapshots' && (await isHubCache(cache)))
    return snapshotIn(cache, basename(folder));
  if (await isHubCache(folder)) return snapshotIn(folder, await revisionOf(folder));
  const models = (await namesIn(folder)).filter((name) => CACHE_NAME.test(name));
  if (models.length === 0) return undefined;
  const got = excerpt(models.join(', '));
  throw new WinnowError('invalid_input', { where: folder, expected: 'one model of the cache', got });
}

/** Puts a file in place by a hard link where the file system allows it, else by copying. */
export async function placeFile(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await link(from, to).catch(() => copyFile(from, to, constants.COPYFILE_FICLONE));
}

/** Returns the rule for links of a snapshot: they lead into `blobs/` of the same cache. */
export const linkRule = ({ blobs }: Snapshot): LinkRule => ({
  into: blobs,
  otherwise: 'it is outside blobs/ of the cache',
});

/**
 * Writes the files of a snapshot into a folder as plain files. Links are followed into `blobs/` of the same cache only.
 * @throws WinnowError `unsafe_path` for another link, `invalid_manifest` beyond a limit.
 */
export async function copySnapshot(snapshot: Snapshot, target: string, limits: FolderLimits): Promise<void> {
  const { folder } = snapshot;
  await mkdir(target, { recursive: true });
  for (const { path } of await listFiles(folder, limits, undefined, linkRule(snapshot)))
    await placeFile(await realpath(join(folder, path)), join(target, path));
}
