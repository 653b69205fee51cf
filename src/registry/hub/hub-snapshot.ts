import { readFile, stat } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { isObject } from '../../util/json-files.ts';
import { parseJson } from '../../util/parse-json.ts';
import { startProgress } from '../../util/progress.ts';
import { RetriableError } from '../../util/retry.ts';
import type { DownloadOptions } from '../download.ts';
import { DEFAULT_LIMITS } from '../folder-files.ts';
import { excerpt, isSafePath } from '../model-names.ts';
import { scanOnnx } from '../onnx-scan.ts';
import { type HubFile, listRepository } from './hub-client.ts';
import { type Selection, selectFiles, type WantedVariant } from './hub-selection.ts';
import type { HubReference, HubSettings } from './hub-settings.ts';
import {
  cachedCommit,
  cachedFiles,
  type HubStore,
  loadFile,
  openStore,
  type StoreOptions,
  snapshotFolder,
  writeRef,
} from './hub-store.ts';

/** A model of the hub as files of the cache. */
export interface HubSnapshot {
  /** Folder of links to the files; it may have others too. */
  readonly folder: string;
  /** The files that the model needs, relative. */
  readonly files: readonly string[];
  readonly commit: string;
  /** Server, repository and commit. */
  readonly origin: string;
}

export interface SnapshotOptions {
  readonly hub: HubSettings;
  readonly variant?: WantedVariant | undefined;
  readonly maxBytes?: number | undefined;
  readonly startProgress?: DownloadOptions['startProgress'] | undefined;
  readonly retryMs?: number | undefined;
  readonly idleMs?: number | undefined;
  readonly freeBytes?: StoreOptions['freeBytes'] | undefined;
  /** Called with the folder of the small files before weights are loaded; throws where their model could not be read. */
  readonly checkWeights?: ((folder: string) => Promise<void>) | undefined;
  /** Receives what the user should know, one sentence each. */
  readonly warn?: ((line: string) => void) | undefined;
}

/** Where files of a snapshot come from. */
interface Source {
  readonly store: HubStore;
  readonly commit: string;
  readonly paths: ReadonlySet<string>;
  /** Makes a file be in the snapshot. */
  readonly load: (path: string) => Promise<string>;
}

/**
 * Puts the files that a model needs into the hub's cache, as far as they are not there, and returns where. Without a network, and with
 * HF_HUB_OFFLINE, the cache is used as it is.
 * @returns undefined for a server that does not list files.
 * @throws WinnowError `invalid_input` with URL or folder and what to do.
 */
export async function loadSnapshot(
  reference: HubReference,
  options: SnapshotOptions,
): Promise<HubSnapshot | undefined> {
  const source = options.hub.isOffline ? await offline(reference, options) : await online(reference, options);
  if (!source) return undefined;
  const { store, commit } = source;
  const files = await loadAll(source, reference.id, options);
  if (!options.hub.isOffline) await writeRef(store, commit);
  const origin = `${options.hub.endpoint}/${reference.id}@${commit}`;
  return { folder: snapshotFolder(store, commit), files, commit, origin };
}

async function online(reference: HubReference, options: SnapshotOptions): Promise<Source | undefined> {
  const { hub, retryMs, idleMs, freeBytes, warn } = options;
  const listing = await listRepository(reference, hub, retryMs).catch(async (error: unknown) => {
    if (!(error instanceof RetriableError)) throw error;
    const cached = await fromCache(reference, hub);
    if (!cached) throw unreachable(reference, hub, error);
    warn?.(`${hub.endpoint} cannot be reached (${error.message}); ${reference.id} is read from the cache`);
    return cached;
  });
  if (!listing || 'store' in listing) return listing;
  const store = openStore(reference, hub);
  const load: StoreOptions = {
    hub,
    startProgress: options.startProgress ?? startProgress,
    maxBytes: options.maxBytes ?? DEFAULT_LIMITS.maxBytes,
    retryMs,
    idleMs,
    freeBytes,
  };
  const { commit, files } = listing;
  const count = counter(reference.id, load.maxBytes);
  const loadOne = async (path: string): Promise<string> => {
    const file: HubFile = files.get(path)!;
    if (file.bytes !== undefined) count(file.bytes);
    const loaded = await loadFile(store, commit, file, load);
    if (file.bytes === undefined) count((await stat(loaded)).size);
    return loaded;
  };
  return { store, commit, paths: new Set(files.keys()), load: loadOne };
}

/** Returns a function that adds up the files of a model. It throws beyond the limits of a folder: nothing larger could be imported. */
function counter(id: string, maxBytes: number): (bytes: number) => void {
  const { maxFiles } = DEFAULT_LIMITS;
  let [files, total] = [0, 0];
  return (bytes) => {
    files++;
    total += bytes;
    if (files > maxFiles || total > maxBytes)
      throw new WinnowError('invalid_input', {
        where: id,
        expected: `a model of at most ${maxBytes} bytes in ${maxFiles} files (registry.maxModelBytes)`,
        got: `${total} bytes in ${files} files, or more`,
      });
  };
}

const unreachable = (
  { id, revision }: HubReference,
  { endpoint, cache }: HubSettings,
  error: RetriableError,
): WinnowError =>
  new WinnowError(
    'invalid_input',
    {
      where: `${endpoint}/${id}/resolve/${revision}/config.json`,
      expected: `an answer of the hub, or ${id} in the cache ${cache} (behind a proxy, set HTTPS_PROXY and NODE_USE_ENV_PROXY=1)`,
      got: error.message,
    },
    { cause: error },
  );

/** Returns what the cache has of a repository; undefined without it. */
async function fromCache(reference: HubReference, hub: HubSettings): Promise<Source | undefined> {
  const store = openStore(reference, hub);
  const commit = await cachedCommit(store);
  if (commit === undefined) return undefined;
  const load = async (path: string) => join(snapshotFolder(store, commit), path);
  return { store, commit, paths: await cachedFiles(store, commit), load };
}

async function offline(reference: HubReference, { hub }: SnapshotOptions): Promise<Source> {
  const found = await fromCache(reference, hub);
  if (found) return found;
  throw new WinnowError('invalid_input', {
    where: hub.cache,
    expected: `${reference.id}@${reference.revision} in the cache, because HF_HUB_OFFLINE is set (run once without it, or copy the cache of another machine)`,
    got: 'none',
  });
}

/** Loads everything and returns the paths. Small files come first: what they show may end the download. */
async function loadAll(
  source: Source,
  id: string,
  { variant = 'auto', checkWeights }: SnapshotOptions,
): Promise<readonly string[]> {
  const { small, graphs, weights }: Selection = selectFiles(source.paths, variant, id);
  const done = [...small];
  for (const path of small) await source.load(path);
  if (weights.length > 0) await checkWeights?.(snapshotFolder(source.store, source.commit));
  for (const path of graphs) done.push(path, ...(await loadGraph(source, path)));
  for (const path of weights) done.push(path, ...(await loadWeights(source, path)));
  return done;
}

/** Loads files that another names. */
async function loadNamed(source: Source, paths: readonly string[], by: string): Promise<readonly string[]> {
  const missing = paths.find((path) => !source.paths.has(path));
  if (missing !== undefined)
    throw new WinnowError('invalid_input', {
      where: `${snapshotFolder(source.store, source.commit)}/${by}`,
      expected: `${excerpt(missing)}, which it names, among the files of the repository`,
      got: 'none (offline, the cache may be incomplete: run once with the network)',
    });
  for (const path of paths) await source.load(path);
  return paths;
}

async function loadGraph(source: Source, path: string): Promise<readonly string[]> {
  const { external } = await scanOnnx(await source.load(path), path);
  const outside = external.find(({ location }) => !isSafePath(location));
  if (outside)
    throw new WinnowError('unsafe_path', { file: path, got: `external data at "${excerpt(outside.location)}"` });
  const named = external.map(({ location }) => posix.join(posix.dirname(path), location));
  return loadNamed(source, [...new Set(named)], path);
}

async function loadWeights(source: Source, path: string): Promise<readonly string[]> {
  const file = await source.load(path);
  if (!path.endsWith('.index.json')) return [];
  const index: unknown = parseJson(await readFile(file, 'utf8'));
  const map = isObject(index) && isObject(index.weight_map) ? index.weight_map : {};
  const shards = [...new Set(Object.values(map).map(String))];
  const outside = shards.find((shard) => !isSafePath(shard));
  if (outside !== undefined)
    throw new WinnowError('unsafe_path', { file: path, got: `a shard at "${excerpt(outside)}"` });
  return loadNamed(source, shards, path);
}

/** Makes the error of a server that neither lists a repository nor says why. */
export const unlisted = ({ id, revision }: HubReference, { endpoint }: HubSettings): WinnowError =>
  new WinnowError('invalid_input', {
    where: `${endpoint}/api/models/${id}/revision/${revision}`,
    expected: `a repository that exists and has revision ${revision} (check both; if it is private, set HF_TOKEN), on a server that lists its files`,
    got: 'HTTP 404',
  });
