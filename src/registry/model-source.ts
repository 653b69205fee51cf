import { createHash } from 'node:crypto';
import { mkdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { WinnowError } from '../errors.ts';
import { sha256File } from '../util/files.ts';
import { diskFault } from './download.ts';
import { DEFAULT_LIMITS, type FolderLimits, type LinkRule, listFiles } from './folder-files.ts';
import { type Environment, type HubReference, parseHubReference, readHubSettings } from './hub/hub-settings.ts';
import { type HubSnapshot, loadSnapshot, type SnapshotOptions, unlisted } from './hub/hub-snapshot.ts';
import { findSnapshot, linkRule } from './hub-cache.ts';
import { importFolder } from './import-version.ts';
import { MANIFEST_FILE } from './manifest.ts';
import { excerpt, isName } from './model-names.ts';
import { importSnapshot } from './pull.ts';
import type { AdmissionDeps } from './version-admission.ts';
import type { SideStatement } from './weights-folder.ts';

/*
 * Models that are named by where they are, a repository of the hub or a folder, and imported into a registry when they are first used. A
 * model has a name of its own for each content, so that a changed folder is another model and none takes the place of another.
 */

export interface SourceOptions extends Omit<SnapshotOptions, 'hub'> {
  readonly env: Environment;
  readonly limits?: FolderLimits;
  /** Begins the key of an import: another version of Winnow writes graphs anew. */
  readonly program: string;
  /** What is stated of bi-encoders, before their model.json. */
  readonly sides?: SideStatement | undefined;
}

/** Runs `work` with what an import needs; it is called only for models that are not in the registry yet. */
export type WithDeps = <T>(work: (deps: AdmissionDeps) => Promise<T>) => Promise<T>;

export interface SourceModel {
  /** Name in the registry. */
  readonly name: string;
  /** Names that clients may use: the repository, with its revision if one was named, and the last part of it; of a folder its own name. */
  readonly aliases: readonly string[];
  /** Whether it was imported now. */
  readonly isNew: boolean;
  /** Warnings of the import. */
  readonly warnings: readonly string[];
}

/** A model that was found, before it is imported. */
interface Found {
  /** Changes with the content. */
  readonly key: string;
  readonly label: string;
  readonly aliases: readonly string[];
  readonly importAs: (name: string, deps: AdmissionDeps) => Promise<{ readonly warnings: readonly string[] }>;
}

const isFolder = async (path: string) => (await stat(path).catch(() => undefined))?.isDirectory() ?? false;

/**
 * Finds the model that a text means: a folder, if there is one of that name, else `organization/model` or `organization/model@revision` of the
 * hub, whose files are loaded into the hub's cache.
 * @throws WinnowError `invalid_input` for text that is neither, and what loading throws.
 */
export async function resolveSource(text: string, options: SourceOptions): Promise<string | HubSnapshot> {
  if (await isFolder(text)) return realpath(text);
  const reference = parseHubReference(text);
  if (!reference)
    throw new WinnowError('invalid_input', {
      where: excerpt(text),
      expected: 'a folder that exists, or a model of the hub as ORGANIZATION/MODEL or ORGANIZATION/MODEL@REVISION',
      got: 'neither',
    });
  return loadReference(reference, options);
}

async function loadReference(reference: HubReference, options: SourceOptions): Promise<HubSnapshot> {
  const hub = await readHubSettings(options.env);
  const snapshot = await loadSnapshot(reference, { ...options, hub });
  if (snapshot) return snapshot;
  throw unlisted(reference, hub);
}

async function find(text: string, registryFolder: string, options: SourceOptions): Promise<Found> {
  const source = await resolveSource(text, options);
  if (typeof source === 'string') return foundFolder(source, registryFolder, options);
  const { sides } = options;
  const { id, revision } = parseHubReference(text)!;
  const plain = id.slice(id.indexOf('/') + 1);
  return {
    key: JSON.stringify([id, source.commit, [...source.files].sort()]),
    label: plain,
    aliases: [id, plain, ...(text === id ? [] : [`${id}@${revision}`])],
    importAs: (name, deps) => importSnapshot(source, registryFolder, name, deps, { sides }),
  };
}

async function foundFolder(
  folder: string,
  registryFolder: string,
  { limits = DEFAULT_LIMITS, sides }: SourceOptions,
): Promise<Found> {
  const snapshot = await findSnapshot(folder);
  const root = snapshot?.folder ?? folder;
  const label = snapshot ? snapshot.origin.replace(/@.*/, '').replace(/.*\//, '') : labelOf(folder);
  return {
    key: await contentOf(root, snapshot && linkRule(snapshot), limits),
    label,
    aliases: [label],
    importAs: (name, deps) => importFolder(folder, registryFolder, name, deps, { sides }),
  };
}

/** Returns the name of a folder; of a version in a registry that of its model. */
const labelOf = (folder: string): string =>
  /^\d+$/.test(basename(folder)) ? basename(dirname(folder)) : basename(folder);

/** Returns a text that changes with the files of a folder. */
async function contentOf(folder: string, links: LinkRule | undefined, limits: FolderLimits): Promise<string> {
  const files = await listFiles(folder, limits, undefined, links);
  const entries: string[] = [];
  for (const { path } of files) entries.push(`${path}\0${await sha256File(join(folder, path))}`);
  return entries.join('\n');
}

/** Returns a name for a content: readable, and different for each. */
function nameFor(label: string, key: string): string {
  const plain = label
    .replaceAll(/[^A-Za-z0-9._-]+/g, '-')
    .replaceAll('..', '.')
    .slice(0, 100);
  const digest = createHash('sha256').update(key).digest('hex').slice(0, 8);
  const name = `${plain}-${digest}`;
  return isName(name) ? name : `model-${digest}`;
}

/** Whether a model has a version that was put in place whole. */
const hasVersion = async (registryFolder: string, name: string): Promise<boolean> =>
  (await stat(join(registryFolder, name, '1', MANIFEST_FILE)).catch(() => undefined))?.isFile() ?? false;

/**
 * Makes the model that a text means part of a registry: it is imported unless one of the same content is there.
 * @param text A folder, `organization/model` or `organization/model@revision`.
 * @throws WinnowError of finding, loading and admission.
 */
export async function ensureModel(
  text: string,
  registryFolder: string,
  withDeps: WithDeps,
  options: SourceOptions,
): Promise<SourceModel> {
  const found = await find(text, registryFolder, options);
  const { sides } = options;
  const name = nameFor(found.label, `${options.program}\n${found.key}${sides ? `\n${JSON.stringify(sides)}` : ''}`);
  const aliases = [...new Set(found.aliases)].filter((alias) => alias !== name);
  if (await hasVersion(registryFolder, name)) return { name, aliases, isNew: false, warnings: [] };
  try {
    await mkdir(registryFolder, { recursive: true });
    const { warnings } = await withDeps((deps) => found.importAs(name, deps));
    return { name, aliases, isNew: true, warnings };
  } catch (error) {
    throw diskFault(error, registryFolder, '--models') ?? error;
  }
}
