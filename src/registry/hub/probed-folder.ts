import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { asObject } from '../../util/json-files.ts';
import { RetriableError } from '../../util/retry.ts';
import { type DownloadOptions, download, httpFault, isThere } from '../download.ts';
import { DEFAULT_LIMITS, readJson } from '../folder-files.ts';
import { excerpt, isSafePath } from '../model-names.ts';
import { scanOnnx } from '../onnx-scan.ts';
import { MODULES } from '../sentence-transformers.ts';
import { chooseGraphs, GRAPHS, hasInt8, ownInt8Files, SMALL_FILES, type WantedVariant } from './hub-selection.ts';
import { fileUrl, type HubReference } from './hub-settings.ts';

/*
 * Loading from a server that has the addresses of the hub's files and no list of them: names are tried. Files go to a hidden folder of the
 * registry, because without a list it is not known what they are called in the hub's cache.
 */

/** A repository on such a server. */
interface Repository extends HubReference {
  readonly endpoint: string;
  readonly staging: string;
  readonly download: DownloadOptions;
}

const urlOf = (repository: Repository, file: string): string => fileUrl(repository, repository.endpoint, file);

/** Downloads a file into the staging folder unless it is already there. Returns false if it does not exist. */
async function fetchFile(repository: Repository, file: string): Promise<boolean> {
  const target = join(repository.staging, file);
  if ((await stat(target).catch(() => undefined))?.isFile()) return true;
  return (await download(urlOf(repository, file), target, repository.download)) !== undefined;
}

/** Returns the ONNX files below `onnx/` that the server has. */
async function graphsThere(repository: Repository): Promise<ReadonlySet<string>> {
  const there = await Promise.all(
    GRAPHS.map(async ([file]) => ((await isThere(urlOf(repository, file), repository.download)) ? [file] : [])),
  );
  return new Set(there.flat());
}

async function fetchGraph(repository: Repository, file: string): Promise<void> {
  if (!(await fetchFile(repository, file)))
    throw new WinnowError('invalid_input', {
      where: repository.id,
      expected: 'an ONNX file (onnx/model.onnx, its variants, or model.onnx)',
      got: 'none; export the model first (optimum-cli export onnx --task text-classification)',
    });
  const { external } = await scanOnnx(join(repository.staging, file), file);
  for (const { location } of external) {
    if (!isSafePath(location))
      throw new WinnowError('unsafe_path', { file, got: `external data at "${excerpt(location)}"` });
    const data = posix.join(posix.dirname(file), location);
    if (!(await fetchFile(repository, data))) throw httpFault(urlOf(repository, data), 404);
  }
}

/**
 * Downloads config.json and learns from its headers which commit the revision means now. Deletes files that an earlier attempt left of
 * another commit, because files of two commits do not make a model.
 * @returns The commit if the server reports it.
 */
async function pinCommit(repository: Repository): Promise<string | undefined> {
  const { staging } = repository;
  const url = urlOf(repository, 'config.json');
  const fresh = join(staging, '.config.json');
  const headers = await download(url, fresh, repository.download);
  if (!headers) throw httpFault(url, 404);
  const commit = headers.get('x-repo-commit') ?? undefined;
  const before = await readFile(join(staging, '.commit'), 'utf8').catch(() => undefined);
  const config = await readFile(fresh);
  if (before !== commit) await rm(staging, { recursive: true, force: true });
  await mkdir(staging, { recursive: true });
  await writeFile(join(staging, 'config.json'), config);
  if (commit !== undefined) await writeFile(join(staging, '.commit'), commit);
  return commit;
}

/** Downloads the int8 file that suits this processor best. Returns its path, if there is one. */
async function fetchTargeted(repository: Repository): Promise<string | undefined> {
  for (const file of ownInt8Files()) if (await fetchFile(repository, file)) return file;
  return undefined;
}

/** Folders of modules, as sentence-transformers names them. */
const MODULE_FOLDER = /^\d+_[A-Za-z]\w*$/;

/** Downloads settings and weights of the modules that modules.json lists. */
async function fetchModules(repository: Repository): Promise<void> {
  if (!(await fetchFile(repository, MODULES))) return;
  const listed = await readJson(join(repository.staging, MODULES), MODULES, DEFAULT_LIMITS);
  const paths = (Array.isArray(listed) ? listed : []).map((module) => asObject(module).path);
  for (const path of paths) {
    if (typeof path !== 'string' || !MODULE_FOLDER.test(path)) continue;
    await fetchFile(repository, `${path}/config.json`);
    if (!(await fetchFile(repository, `${path}/model.safetensors`)))
      await fetchFile(repository, `${path}/pytorch_model.bin`);
  }
}

async function fetchAll(repository: Repository, variant: WantedVariant): Promise<string | undefined> {
  const commit = await pinCommit(repository);
  const graphs = await graphsThere(repository);
  const targeted = hasInt8(graphs) || !['int8', 'all'].includes(variant) ? undefined : await fetchTargeted(repository);
  const files = targeted && variant === 'int8' ? [] : chooseGraphs(graphs, variant, repository.id);
  if (targeted) files.push(targeted);
  for (const file of SMALL_FILES) await fetchFile(repository, file);
  await fetchModules(repository);
  for (const file of files) await fetchGraph(repository, file);
  return commit;
}

/**
 * Loads a model by trying names and calls `work` with its folder and, where the server reports it, its commit. The next call continues an
 * interrupted download; otherwise the folder is removed.
 * @throws WinnowError `invalid_input` with the URL and the answer, and what `work` throws.
 */
export async function withProbedFolder<T>(
  { id, revision, endpoint }: Pick<Repository, 'id' | 'revision' | 'endpoint'>,
  registryFolder: string,
  variant: WantedVariant,
  options: DownloadOptions,
  work: (folder: string, commit: string | undefined) => Promise<T>,
): Promise<T> {
  const name = `.pull-${id.split('/').join('--')}@${encodeURIComponent(revision)}`;
  const staging = join(registryFolder, name);
  const repository = { id, revision, endpoint, staging, download: options };
  await mkdir(staging, { recursive: true });
  let isInterrupted = false;
  try {
    return await work(staging, await fetchAll(repository, variant));
  } catch (error) {
    isInterrupted = (error as Error).cause instanceof RetriableError;
    throw error;
  } finally {
    if (!isInterrupted) await rm(staging, { recursive: true, force: true });
  }
}
