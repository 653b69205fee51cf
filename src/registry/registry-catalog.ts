import { access, lstat, readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { WinnowError } from '../errors.ts';
import { DEFAULT_LIMITS, type FolderLimits, fingerprintOf, LINK_CURE, listFiles } from './folder-files.ts';
import { isHubCache } from './hub-cache.ts';
import { DEFAULT_FILE, isMissing, LABELS_FILE, readDefault, readLabels, STABLE } from './labels.ts';
import { MANIFEST_FILE } from './manifest.ts';
import { compareVersions, excerpt, isName, NAME_RULE, parseReference } from './model-names.ts';

/** A version's folder on disk; none of its files is opened. */
export interface VersionOnDisk {
  readonly version: string;
  readonly folder: string;
  /** Relative paths of other versions, for an export that is directly in the model's folder. */
  readonly skip: ReadonlySet<string>;
  /** Changes when a file of the folder changes. The error message if the folder cannot be listed. */
  readonly fingerprint: string;
}

export interface ModelOnDisk {
  readonly name: string;
  readonly folder: string;
  /** Newest first. */
  readonly versions: readonly VersionOnDisk[];
  /** Undefined if labels.json cannot be read; the labels read before then remain. */
  readonly labels: ReadonlyMap<string, string> | undefined;
}

export interface Problem {
  readonly where: string;
  readonly reason: string;
}

export interface Catalog {
  readonly models: readonly ModelOnDisk[];
  /** The model of `default.json`, which answers requests that name none. */
  readonly defaultModel: string | undefined;
  readonly problems: readonly Problem[];
  /** Whether the folder of a model, or `default.json`, is there and could not be read: then what was known before stays in effect. */
  readonly isUnreadable: (name: string) => boolean;
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

/** Returns the sub-folders that may be models or versions. Names that start with a dot are ignored: they are unfinished or foreign. */
async function namesIn(folder: string, problems: Problem[], prefix = ''): Promise<readonly string[]> {
  const names: string[] = [];
  const all = (await readdir(folder)).filter((name) => !name.startsWith('.'));
  if (all.length > MAX_ENTRIES)
    problems.push({ where: folder, reason: `expected at most ${MAX_ENTRIES} entries, got ${all.length}` });
  for (const name of all.slice(0, MAX_ENTRIES).sort()) {
    const facts = await lstat(join(folder, name)).catch(() => undefined);
    if (facts?.isSymbolicLink())
      problems.push({ where: excerpt(prefix + name), reason: `expected a folder, got a symbolic link; ${LINK_CURE}` });
    if (!facts?.isDirectory()) continue;
    if (isName(name)) names.push(name);
    else problems.push({ where: excerpt(prefix + name), reason: `expected a name of ${NAME_RULE}` });
  }
  return names;
}

async function onDisk(
  version: string,
  folder: string,
  limits: FolderLimits,
  skip: ReadonlySet<string> = new Set(),
): Promise<VersionOnDisk> {
  // The same files in another folder are loaded again, because the old folder may go.
  const fingerprint = await listFiles(folder, limits, skip).then(
    (files) => `${folder}\n${fingerprintOf(files)}`,
    (error: Error) => error.message,
  );
  return { version, folder, skip, fingerprint };
}

/** The version number of an export that is directly in the model's folder. */
const FLAT_VERSION = '1';

/**
 * Returns the versions of a model, newest first: its sub-folders. If the model's folder is itself an export (it has a `config.json`), it is
 * version 1 unless there is a folder `1`, and only sub-folders that are exports are versions too.
 */
async function versionsOf(
  model: string,
  folder: string,
  limits: FolderLimits,
  problems: Problem[],
): Promise<readonly VersionOnDisk[]> {
  const names = await namesIn(folder, problems, `${model}/`);
  const isFlat = await exists(join(folder, 'config.json'));
  const versions = [];
  for (const name of names) {
    const path = join(folder, name);
    if (!isFlat || (await isExport(path))) versions.push(await onDisk(name, path, limits));
  }
  if (isFlat && !versions.some((v) => v.version === FLAT_VERSION))
    versions.push(
      await onDisk(FLAT_VERSION, folder, limits, new Set([...versions.map((v) => v.version), LABELS_FILE])),
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
    problems.push({ where: `${name}/${LABELS_FILE}`, reason: error.message });
    return undefined;
  });
  const versions = await versionsOf(name, folder, limits, problems);
  for (const [label, version] of labels ?? [])
    if (!versions.some((one) => one.version === version))
      problems.push({
        where: `${name}/${LABELS_FILE}`,
        reason: `expected one of the versions (${excerpt(versions.map((one) => one.version).join(', ')) || 'none'}), got ${version} (${label})`,
      });
  return { name, folder, versions, labels };
}

/** Returns the folders of models. Reports caches of the hub, whose links are not followed here. */
async function modelsIn(root: string, problems: Problem[]): Promise<readonly string[]> {
  const report = (where: string, got: string, folder: string) =>
    problems.push({
      where,
      reason: `expected folders of models, got ${got}; run \`winnow models import ${folder} NAME\``,
    });
  if (await exists(join(root, 'config.json'))) report(root, 'the files of one model', root);
  const cache = 'a cache of the Hugging Face hub, which is made of links';
  if (await isHubCache(root)) {
    report(root, cache, root);
    return [];
  }
  const models: string[] = [];
  for (const name of await namesIn(root, problems))
    if (await isHubCache(join(root, name))) report(name, cache, join(root, name));
    else models.push(name);
  return models;
}

/**
 * Reads the models and versions of a registry folder. Opens only `labels.json` and `default.json`. Reports faults as problems.
 * @throws WinnowError `invalid_input` if the folder does not exist.
 */
export async function readCatalog(registryFolder: string, limits: FolderLimits = DEFAULT_LIMITS): Promise<Catalog> {
  const root = await realpath(registryFolder).catch(() => registryFolder);
  if (!(await isFolder(root)))
    throw new WinnowError('invalid_input', { where: registryFolder, expected: 'a registry folder', got: 'none' });
  const problems: Problem[] = [];
  const unreadable: Problem[] = [];
  const models: ModelOnDisk[] = [];
  for (const name of await modelsIn(root, problems)) {
    // A folder that is removed meanwhile is read again after the event of its removal.
    const model = await readModel(name, join(root, name), limits, problems).catch((error: Error) => {
      if (!isMissing(error)) unreadable.push({ where: name, reason: error.message });
      return undefined;
    });
    if (model) models.push(model);
  }
  const named = await readDefault(root, limits).catch((error: Error) => {
    unreadable.push({ where: DEFAULT_FILE, reason: error.message });
    return undefined;
  });
  const defaultModel = models.some(({ name }) => name === named) ? named : undefined;
  if (named !== undefined && defaultModel === undefined)
    problems.push({
      where: DEFAULT_FILE,
      reason: `expected one of the models, got ${named} (there are: ${excerpt(models.map(({ name }) => name).join(', ')) || 'none'}); unless registry.defaultModel names one, ${models[0]?.name ?? 'no model'} answers requests that name none`,
    });
  const isUnreadable = (name: string) => unreadable.some(({ where }) => where === name);
  return { models, defaultModel, problems: [...problems, ...unreadable], isUnreadable };
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
 * Returns the version that answers requests which name none: of the default reference's model the version or label in the reference, else
 * `stable`, else the newest. Opens no file of the version, so admission may still refuse it.
 * @param configured `name`, `name@version` or `name:label`.
 * @returns Undefined if the folder has no such model.
 * @throws WinnowError `invalid_input` if the folder does not exist.
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
