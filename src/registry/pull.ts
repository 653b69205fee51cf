import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { WinnowError } from '../errors.ts';
import { withTemporary } from '../util/files.ts';
import { startProgress } from '../util/progress.ts';
import type { DownloadOptions } from './download.ts';
import { DEFAULT_LIMITS } from './folder-files.ts';
import type { WantedVariant } from './hub/hub-selection.ts';
import { checkReference, type HubSettings, readHubSettings } from './hub/hub-settings.ts';
import { type HubSnapshot, loadSnapshot, type SnapshotOptions } from './hub/hub-snapshot.ts';
import { withProbedFolder } from './hub/probed-folder.ts';
import { placeFile } from './hub-cache.ts';
import { type Imported, type ImportOptions, importFolder } from './import-version.ts';
import type { AdmissionDeps } from './version-admission.ts';

export interface PullOptions extends Omit<SnapshotOptions, 'hub'> {
  /** Branch, tag or commit. Default: `main`. */
  readonly revision?: string | undefined;
  /** Which ONNX files: `auto` (the default) takes fp32, else the best other variant, else weights; `all` takes every variant. */
  readonly variant?: WantedVariant | undefined;
  /** Name in the registry. Default: that of the repository without its owner. */
  readonly name?: string | undefined;
  readonly label?: string | undefined;
  /** What is stated of a bi-encoder, before its model.json. */
  readonly sides?: ImportOptions['sides'];
  /** Another server with the paths of the hub. */
  readonly endpoint?: string | undefined;
}

const downloadOptions = ({ maxBytes, startProgress: start, retryMs }: PullOptions): DownloadOptions => ({
  fetch: (url, init) => fetch(url, init),
  headers: {},
  maxBytes: maxBytes ?? DEFAULT_LIMITS.maxBytes,
  startProgress: start ?? startProgress,
  retryMs,
});

/** Imports the files of a snapshot that the model needs, and no others. */
export async function importSnapshot(
  { folder, files, origin }: HubSnapshot,
  registryFolder: string,
  name: string,
  deps: AdmissionDeps,
  { label, sides }: Pick<ImportOptions, 'label' | 'sides'> = {},
): Promise<Imported> {
  return withTemporary(join(registryFolder, 'import'), async (staging) => {
    for (const file of files) await placeFile(await realpath(join(folder, file)), join(staging, file));
    const importing = importFolder(staging, registryFolder, name, deps, { label, sides, manifest: { source: origin } });
    return importing.catch((error: unknown) => {
      throw placedAt(error, staging, folder);
    });
  });
}

/** Makes an error name the folder of the cache instead of the temporary one. */
function placedAt(error: unknown, temporary: string, folder: string): unknown {
  if (!(error instanceof WinnowError)) return error;
  const params = Object.entries(error.params).map(([key, value]) => [
    key,
    typeof value === 'string' ? value.replaceAll(temporary, folder) : value,
  ]);
  return new WinnowError(error.code, Object.fromEntries(params), { cause: error.cause });
}

/**
 * Downloads a model from the Hugging Face hub (or a server with its paths) into the hub's cache, then imports it: full admission, self-test
 * pairs, hashes, next version. The next call continues an interrupted download.
 * @throws WinnowError `invalid_input` with the URL and the answer; those of admission.
 */
export async function pull(
  id: string,
  registryFolder: string,
  deps: AdmissionDeps,
  options: PullOptions = {},
): Promise<Imported> {
  const reference = checkReference({ id, revision: options.revision ?? 'main' });
  const hub: HubSettings = await readHubSettings(process.env, options.endpoint);
  const name = options.name ?? id.split('/').pop()!;
  const snapshot = await loadSnapshot(reference, { ...options, hub });
  if (snapshot) return importSnapshot(snapshot, registryFolder, name, deps, options);
  const { endpoint, token } = hub;
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const load = { ...downloadOptions(options), headers };
  const server = { ...reference, endpoint };
  return withProbedFolder(server, registryFolder, options.variant ?? 'auto', load, (folder, commit) => {
    const manifest = { source: `${endpoint}/${id}@${commit ?? reference.revision}` };
    const { label, sides } = options;
    return importFolder(folder, registryFolder, name, deps, { label, sides, manifest });
  });
}
