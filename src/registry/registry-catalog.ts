import { access, lstat, readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { WinnowError } from '../errors.ts';
import { DEFAULT_LIMITS, type FolderLimits, fingerprintOf, listFiles } from './folder-files.ts';
import { DEFAULT_FILE, readDefault, readLabels, STABLE } from './labels.ts';
import { MANIFEST_FILE } from './manifest.ts';
import { compareVersions, excerpt, isName, NAME_RULE, parseReference } from './model-names.ts';

/** What stands on disk for a version, nothing opened. */
export interface VersionOnDisk {
  readonly version: string;
  readonly folder: string;
  /** Relative paths that belong to other versions (an export dropped straight into the model's folder). */
  readonly skip: ReadonlySet<string>;
  /** Changes when any file of the folder does; says why where the folder cannot be listed. */
  readonly fingerprint: string;
}

export interface ModelOnDisk {
  readonly name: string;
  readonly folder: string;
  /** Newest first. */
  readonly versions: readonly VersionOnDisk[];
  /** Undefined where labels.json cannot be read: the labels known before hold. */
  readonly labels: ReadonlyMap<string, string> | undefined;
}

export interface Problem {
  readonly where: string;
  readonly reason: string;
}

export interface Catalog {
  readonly models: readonly ModelOnDisk[];
  /** Name of the model the folder itself says answers requests that name none. */
  readonly defaultModel: string | undefined;
  readonly problems: readonly Problem[];
}

const MAX_ENTRIES = 10_000;

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

const isFolder = async (path: string) => (await lstat(path).catch(() => undefined))?.isDirectory() ?? false;

const isExport = async (folder: string) =>
  (await exists(join(folder, 'config.json'))) || (await exists(join(folder, MANIFEST_FILE)));

/** Names of a folder that may be models or versions; a dot in front means "not finished" or "not ours". */
async function namesIn(folder: string, problems: Problem[]): Promise<readonly string[]> {
  const names: string[] = [];
  const all = (await readdir(folder)).filter((name) => !name.startsWith('.'));
  if (all.length > MAX_ENTRIES)
    problems.push({ where: folder, reason: `expected at most ${MAX_ENTRIES} entries, got ${all.length}` });
  for (const name of all.slice(0, MAX_ENTRIES).sort()) {
    const facts = await lstat(join(folder, name)).catch(() => undefined);
    if (facts?.isSymbolicLink())
      problems.push({ where: excerpt(name), reason: 'expected a folder, got a symbolic link' });
    if (!facts?.isDirectory()) continue;
    if (isName(name)) names.push(name);
    else problems.push({ where: excerpt(name), reason: `expected a name of ${NAME_RULE}` });
  }
  return names;
}

async function onDisk(
  version: string,
  folder: string,
  limits: FolderLimits,
  skip: ReadonlySet<string> = new Set(),
): Promise<VersionOnDisk> {
  const fingerprint = await listFiles(folder, limits, skip).then(fingerprintOf, (error: Error) => error.message);
  return { version, folder, skip, fingerprint };
}

/** The version an export dropped straight into the model's folder counts as. */
export const FLAT_VERSION = '1';

/**
 * Versions of a model: its sub-folders. Where the model's folder itself is an export (`config.json` in it), it is version 1 – unless there
 * is a folder `1` – and only sub-folders that are exports too are versions besides.
 */
async function versionsOf(
  folder: string,
  limits: FolderLimits,
  problems: Problem[],
): Promise<readonly VersionOnDisk[]> {
  const names = await namesIn(folder, problems);
  const isFlat = await exists(join(folder, 'config.json'));
  const versions = [];
  for (const name of names) {
    const path = join(folder, name);
    if (!isFlat || (await isExport(path))) versions.push(await onDisk(name, path, limits));
  }
  if (isFlat && !versions.some((v) => v.version === FLAT_VERSION))
    versions.push(
      await onDisk(FLAT_VERSION, folder, limits, new Set([...versions.map((v) => v.version), 'labels.json'])),
    );
  return versions.sort((a, b) => compareVersions(a.version, b.version));
}

async function readModel(
  name: string,
  folder: string,
  limits: FolderLimits,
  problems: Problem[],
): Promise<ModelOnDisk> {
  const labels = await readLabels(folder, limits).catch((error: Error) => {
    problems.push({ where: `${name}/labels.json`, reason: error.message });
    return undefined;
  });
  return { name, folder, versions: await versionsOf(folder, limits, problems), labels };
}

/**
 * Reads which models and versions a registry folder holds. Opens nothing but `labels.json` and `default.json`; what is wrong is reported,
 * never thrown.
 * @throws WinnowError `invalid_input` where the folder itself is not there.
 */
export async function readCatalog(registryFolder: string, limits: FolderLimits = DEFAULT_LIMITS): Promise<Catalog> {
  const root = await realpath(registryFolder).catch(() => registryFolder);
  if (!(await isFolder(root)))
    throw new WinnowError('invalid_input', { where: registryFolder, expected: 'a registry folder', got: 'none' });
  const problems: Problem[] = [];
  const models: ModelOnDisk[] = [];
  for (const name of await namesIn(root, problems)) {
    // A folder that goes away while it is read is read again after the event of its going.
    const model = await readModel(name, join(root, name), limits, problems).catch(() => undefined);
    if (model) models.push(model);
  }
  const named = await readDefault(root, limits).catch((error: Error) => {
    problems.push({ where: DEFAULT_FILE, reason: error.message });
    return undefined;
  });
  const defaultModel = models.some(({ name }) => name === named) ? named : undefined;
  if (named !== undefined && defaultModel === undefined)
    problems.push({ where: DEFAULT_FILE, reason: `expected one of the models, got ${named}` });
  return { models, defaultModel, problems };
}

/**
 * Returns the reference that answers requests which name none: the configured one, else the model that `default.json` names, else the first
 * model by name.
 */
export function defaultReference(
  {
    models,
    defaultModel,
  }: { readonly models: readonly { readonly name: string }[]; readonly defaultModel: string | undefined },
  configured: string | undefined,
): string | undefined {
  return configured ?? defaultModel ?? models[0]?.name;
}

/**
 * Reads which version answers requests that name none: of the default reference's model the version or label it names, else `stable`,
 * else the newest. Nothing is opened, so admission may still refuse it.
 * @param configured `name`, `name@version` or `name:label`
 * @returns nothing where the folder holds no such model.
 * @throws WinnowError `invalid_input` where the folder itself is not there.
 */
export async function readDefaultVersion(
  registryFolder: string,
  configured: string | undefined,
  limits?: FolderLimits,
): Promise<(VersionOnDisk & { readonly name: string }) | undefined> {
  const catalog = await readCatalog(registryFolder, limits);
  const reference = defaultReference(catalog, configured);
  if (reference === undefined) return undefined;
  const wanted = parseReference(reference);
  const model = catalog.models.find(({ name }) => name === wanted?.name);
  const version = wanted?.version ?? model?.labels?.get(wanted?.label ?? STABLE);
  const found = model?.versions.find((one) => one.version === version) ?? model?.versions[0];
  return model && found && { ...found, name: model.name };
}
