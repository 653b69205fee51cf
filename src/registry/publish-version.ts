import { copyFile, mkdir, open, readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { WinnowError } from '../errors.ts';
import { wallClock } from '../util/clock.ts';
import { sha256File, writeFolderAtomic } from '../util/files.ts';
import { DEFAULT_LIMITS, type FolderLimits } from './folder-files.ts';
import { putLabel } from './labels.ts';
import { MANIFEST_FILE, MANIFEST_FORMAT, type Manifest, readManifest, writeManifest } from './manifest.ts';
import { compareVersions, excerpt, isName, NAME_RULE } from './model-names.ts';
import { readCatalog } from './registry-catalog.ts';
import { isHashed, readVersionFolder, type VersionFolder, verifyHashes } from './version-folder.ts';
import { chooseGraph } from './version-graph.ts';

export interface PublishOptions {
  /** A label to set on the new version. */
  readonly label?: string | undefined;
  /** Fields that replace those of the source's `model.json`. `files` is always computed. */
  readonly manifest?: Partial<Manifest>;
  /** Paths of weights in other formats that are copied although Winnow does not serve them. */
  readonly weights?: readonly string[];
  readonly limits?: FolderLimits;
  readonly now?: () => number;
}

export interface Published {
  readonly name: string;
  readonly version: string;
  readonly folder: string;
}

function checkName(field: string, got: string): void {
  if (!isName(got)) throw new WinnowError('invalid_field', { expected: NAME_RULE, got: excerpt(got), field });
}

/** Checks the names of a model and a label. @throws WinnowError `invalid_field`. */
export function checkNames(name: string, label?: string): void {
  checkName('name', name);
  if (label !== undefined) checkName('label', label);
}

/** Weights in formats that Winnow does not serve; they are large and are not copied. */
export const FOREIGN_WEIGHTS = /\.(safetensors|bin|pt|pth|ckpt|h5|msgpack|ot|gguf)$/;

interface Source {
  readonly version: VersionFolder;
  /** Relative paths to copy. */
  readonly paths: readonly string[];
}

/** Checks that every variant could be served and that all hashes match. */
async function checkSource(folder: string, { limits = DEFAULT_LIMITS, weights = [] }: PublishOptions): Promise<Source> {
  const version = await readVersionFolder(folder, limits);
  const kept = new Set(weights);
  for (const variant of version.variants)
    for (const path of (await chooseGraph(version, variant.name, 'cpu')).external) kept.add(path);
  await verifyHashes(version);
  const isWanted = (path: string) => path !== MANIFEST_FILE && (kept.has(path) || !FOREIGN_WEIGHTS.test(path));
  return { version, paths: version.files.map((f) => f.path).filter(isWanted) };
}

async function nextNumber(registryFolder: string, name: string): Promise<number> {
  const { models } = await readCatalog(registryFolder);
  const versions = models.find((m) => m.name === name)?.versions ?? [];
  return (
    Math.max(
      0,
      ...versions
        .map((v) => v.version)
        .filter((v) => /^\d{1,15}$/.test(v))
        .map(Number),
    ) + 1
  );
}

/** Copies one file and flushes it, so that the renamed folder never has a file without its bytes. */
async function copyDurably(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await copyFile(from, to);
  const handle = await open(to, 'r+');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function fill(target: string, { version, paths }: Source, options: PublishOptions): Promise<void> {
  const files: Record<string, { sha256: string; bytes: number }> = {};
  for (const path of paths) {
    const to = join(target, path);
    await copyDurably(join(version.folder, path), to);
    if (isHashed(path)) files[path] = { sha256: await sha256File(to), bytes: (await stat(to)).size };
  }
  const { format: _, ...given } = { ...version.manifest, ...options.manifest };
  const created = given.created ?? new Date((options.now ?? wallClock.now)()).toISOString();
  await writeManifest(target, { format: MANIFEST_FORMAT, ...given, created, files });
}

/** Returns the newest version of a model whose manifest is the one that is looked for; those that cannot be read are passed over. */
export async function findPublished(
  registryFolder: string,
  name: string,
  isWanted: (manifest: Manifest) => boolean,
): Promise<Published | undefined> {
  const model = join(registryFolder, name);
  const names = (await readdir(model).catch(() => [])).filter(isName).sort(compareVersions);
  for (const version of names) {
    const folder = join(model, version);
    const manifest = await readManifest(folder).catch(() => undefined);
    if (manifest && isWanted(manifest)) return { name, version, folder };
  }
  return undefined;
}

const isTaken = (error: unknown) => ['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '');

/**
 * Publishes a model folder as the next version of a model. It is copied with hashes and manifest into a folder whose name starts with a
 * dot, then renamed, so that a server that watches the registry sees it complete or not at all.
 * @param source Folder in Hugging Face layout; fields of its `model.json` are kept.
 * @throws WinnowError `invalid_manifest`, `unsafe_path`, `hash_mismatch` for the source, `invalid_field` for names.
 */
export async function publish(
  source: string,
  registryFolder: string,
  name: string,
  options: PublishOptions = {},
): Promise<Published> {
  checkNames(name, options.label);
  const checked = await checkSource(source, options);
  await mkdir(join(registryFolder, name), { recursive: true });
  for (let number = await nextNumber(registryFolder, name); ; number++) {
    const version = String(number);
    const folder = join(registryFolder, name, version);
    try {
      await writeFolderAtomic(folder, (target) => fill(target, checked, options));
    } catch (error) {
      // Another process published that number meanwhile.
      if (isTaken(error)) continue;
      throw error;
    }
    if (options.label !== undefined) await putLabel(join(registryFolder, name), options.label, version);
    return { name, version, folder };
  }
}
