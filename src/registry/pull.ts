import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { WinnowError } from '../errors.ts';
import '../util/engine-telemetry.ts';
import { startProgress } from '../util/progress.ts';
import { RetriableError } from '../util/retry.ts';
import { type DownloadOptions, download, httpFault } from './download.ts';
import { DEFAULT_LIMITS } from './folder-files.ts';
import { type Imported, importFolder } from './import-version.ts';
import { excerpt, isName, isSafePath } from './model-names.ts';
import { scanOnnx } from './onnx-scan.ts';
import { ownTargets, type Target } from './processor.ts';
import { ADAPTER_SETTINGS, MODEL_SETTINGS, MODULE_SETTINGS, MODULES } from './sentence-transformers.ts';
import type { AdmissionDeps } from './version-admission.ts';
import type { Variant } from './version-variants.ts';

export interface PullOptions {
  /** Branch, tag or commit. Default: `main`. */
  readonly revision?: string;
  /** Which ONNX files: `auto` (the default) takes fp32, else the best other variant; `all` takes every variant. */
  readonly variant?: 'auto' | 'all' | Variant['name'];
  /** Name in the registry. Default: that of the repository without its owner. */
  readonly name?: string;
  readonly label?: string | undefined;
  /** Another server with the paths of the hub. */
  readonly endpoint?: string;
  readonly maxBytes?: number;
  readonly startProgress?: DownloadOptions['startProgress'];
  readonly retryMs?: number;
}

interface Repository {
  readonly id: string;
  readonly revision: string;
  readonly endpoint: string;
  readonly staging: string;
  readonly download: DownloadOptions;
}

const HUB = 'https://huggingface.co';
const HUB_HOSTS = new Set(['huggingface.co', 'hf.co']);

/** ONNX files by the number format in the hub client of transformers.js, in order of preference. */
const FORMATS: readonly (readonly [dtype: string, file: string, variant: Variant['name']])[] = [
  ['fp32', 'onnx/model.onnx', 'fp32'],
  ['fp16', 'onnx/model_fp16.onnx', 'fp16'],
  ['int8', 'onnx/model_int8.onnx', 'int8'],
  ['q8', 'onnx/model_quantized.onnx', 'int8'],
  ['uint8', 'onnx/model_uint8.onnx', 'int8'],
];

const SMALL_FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  MODEL_SETTINGS,
  MODULE_SETTINGS,
  MODULES,
  ADAPTER_SETTINGS,
  'chat_template.jinja',
  'vocab.txt',
  'vocab.json',
  'merges.txt',
  'spm.model',
  'README.md',
  'LICENSE',
];

function urlOf({ endpoint, id, revision }: Repository, file: string): string {
  const path = file.split('/').map(encodeURIComponent).join('/');
  return `${endpoint}/${id}/resolve/${encodeURIComponent(revision)}/${path}`;
}

/** Downloads a file into the staging folder unless it is already there. Returns false if it does not exist. */
async function fetchFile(repository: Repository, file: string): Promise<boolean> {
  const target = join(repository.staging, file);
  if ((await stat(target).catch(() => undefined))?.isFile()) return true;
  return (await download(urlOf(repository, file), target, repository.download)) !== undefined;
}

/**
 * Returns the number formats that the repository has below `onnx/`, from the hub client of transformers.js. It also checks that the
 * repository is readable. The client returns configs, tokenizers and sessions but no plain files, so those are downloaded separately.
 */
async function availableFormats({ id, revision, endpoint, staging }: Repository): Promise<readonly string[]> {
  const { AutoConfig, env, ModelFileNotFoundError, ModelRegistry } = await import('@huggingface/transformers');
  const before = { remoteHost: env.remoteHost, allowLocalModels: env.allowLocalModels };
  Object.assign(env, { remoteHost: `${endpoint}/`, allowLocalModels: false });
  const where = { revision, cache_dir: join(staging, '.hub') };
  try {
    const config = await AutoConfig.from_pretrained(id, where);
    return await ModelRegistry.get_available_dtypes(id, { ...where, config });
  } catch (error) {
    const url = `${endpoint}/${id}/resolve/${revision}/config.json`;
    if (error instanceof ModelFileNotFoundError && error.status) throw httpFault(url, error.status);
    const got = String((error as Error).cause ?? (error as Error).message);
    throw new WinnowError('invalid_input', { where: url, expected: 'an answer of the hub', got }, { cause: error });
  } finally {
    Object.assign(env, before);
    await rm(join(staging, '.hub'), { recursive: true, force: true });
  }
}

/** Returns the ONNX files to download. @throws WinnowError `invalid_input` if the repository has none of the variant. */
function wantedFiles(formats: readonly string[], variant: NonNullable<PullOptions['variant']>, id: string): string[] {
  const there = FORMATS.filter(([dtype]) => formats.includes(dtype));
  const unique = there.filter(([, , name], i) => there.findIndex((other) => other[2] === name) === i);
  const wanted =
    variant === 'auto' ? unique.slice(0, 1) : unique.filter(([, , name]) => variant === 'all' || name === variant);
  if (wanted.length > 0) return wanted.map(([, file]) => file);
  if (unique.length === 0 && (variant === 'auto' || variant === 'fp32')) return ['model.onnx'];
  throw new WinnowError('invalid_input', {
    where: id,
    expected: `variant ${variant}`,
    got: unique.map(([, , name]) => name).join(', ') || 'a repository without ONNX files below onnx/',
  });
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

const hasInt8 = (formats: readonly string[]) =>
  FORMATS.some(([dtype, , variant]) => variant === 'int8' && formats.includes(dtype));

/** Names of int8 files for a processor, as sentence-transformers writes them. */
const targetedFiles = (target: Target) => ['qint8', 'quint8'].map((type) => `onnx/model_${type}_${target}.onnx`);

/** Downloads the int8 file that suits this processor best and that the hub client does not list. Returns its path, if there is one. */
async function fetchTargeted(repository: Repository): Promise<string | undefined> {
  for (const file of ownTargets().flatMap(targetedFiles)) if (await fetchFile(repository, file)) return file;
  return undefined;
}

async function fetchAll(
  repository: Repository,
  variant: NonNullable<PullOptions['variant']>,
): Promise<string | undefined> {
  const formats = await availableFormats(repository);
  const commit = await pinCommit(repository);
  const targeted = hasInt8(formats) || !['int8', 'all'].includes(variant) ? undefined : await fetchTargeted(repository);
  const files = targeted && variant === 'int8' ? [] : wantedFiles(formats, variant, repository.id);
  if (targeted) files.push(targeted);
  for (const file of SMALL_FILES) await fetchFile(repository, file);
  for (const file of files) await fetchGraph(repository, file);
  return commit;
}

/** Returns the headers of requests. Only the hub gets the token, as in the hub client; a mirror must not learn it. */
function headersFor(endpoint: string, env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const token = env.HF_TOKEN ?? env.HF_ACCESS_TOKEN;
  return token && HUB_HOSTS.has(new URL(endpoint).hostname) ? { authorization: `Bearer ${token}` } : {};
}

/** Checks the options and returns the repository. @throws WinnowError `invalid_field`. */
function openRepository(id: string, registryFolder: string, options: PullOptions): Repository {
  const parts = id.split('/');
  if (parts.length > 2 || !parts.every(isName) || id.includes('--'))
    throw new WinnowError('invalid_field', { expected: 'ORGANIZATION/MODEL', got: excerpt(id), field: 'repository' });
  const { revision = 'main', endpoint = process.env.HF_ENDPOINT ?? HUB } = options;
  if (!isSafePath(revision))
    throw new WinnowError('invalid_field', {
      expected: 'a branch, tag or commit',
      got: excerpt(revision),
      field: 'revision',
    });
  if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol))
    throw new WinnowError('invalid_field', { expected: 'an http(s) URL', got: excerpt(endpoint), field: 'endpoint' });
  const host = endpoint.replace(/\/+$/, '');
  return {
    id,
    revision,
    endpoint: host,
    staging: join(registryFolder, `.pull-${parts.join('--')}@${encodeURIComponent(revision)}`),
    download: {
      fetch: (url, init) => fetch(url, init),
      headers: headersFor(host, process.env),
      maxBytes: options.maxBytes ?? DEFAULT_LIMITS.maxBytes,
      startProgress: options.startProgress ?? startProgress,
      ...(options.retryMs === undefined ? {} : { retryMs: options.retryMs }),
    },
  };
}

/**
 * Downloads a model from the Hugging Face hub (or a server with its paths) into a hidden folder of the registry, then imports it: full
 * admission, self-test pairs, hashes, next version. The next call continues an interrupted download.
 * @throws WinnowError `invalid_input` with the URL and the answer; those of admission.
 */
export async function pull(
  id: string,
  registryFolder: string,
  deps: AdmissionDeps,
  options: PullOptions = {},
): Promise<Imported> {
  const repository = openRepository(id, registryFolder, options);
  await mkdir(repository.staging, { recursive: true });
  let isInterrupted = false;
  try {
    const commit = await fetchAll(repository, options.variant ?? 'auto');
    const name = options.name ?? id.split('/').pop()!;
    const manifest = { source: `${repository.endpoint}/${id}@${commit ?? repository.revision}` };
    return await importFolder(repository.staging, registryFolder, name, deps, { label: options.label, manifest });
  } catch (error) {
    isInterrupted = (error as Error).cause instanceof RetriableError;
    throw error;
  } finally {
    if (!isInterrupted) await rm(repository.staging, { recursive: true, force: true });
  }
}
