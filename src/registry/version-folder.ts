import { join } from 'node:path';
import { WinnowError } from '../errors.ts';
import { sha256File } from '../util/files.ts';
import type { JsonObject } from '../util/json-files.ts';
import type { FoundTemplate } from '../util/known-templates.ts';
import { adoptActivation, adoptFirstPosition, adoptMaxLength } from './adoption.ts';
import {
  checkJson,
  DEFAULT_LIMITS,
  type FolderFile,
  type FolderLimits,
  listFiles,
  readOptionalObject,
} from './folder-files.ts';
import { interactionVariants, isHalf, isInteraction, statedInteraction } from './interaction.ts';
import { MANIFEST_FILE, type Manifest, readManifest } from './manifest.ts';
import { excerpt } from './model-names.ts';
import type { Activation, SideEncoder } from './registry-types.ts';
import { readSentenceTransformers } from './sentence-transformers.ts';
import { statedEncoder } from './side-encoder.ts';
import { instructionWarning, readTemplate } from './version-template.ts';
import { unservedFiles, type Variant, variantsOf } from './version-variants.ts';

/** The settings of a version from its small files; no weights are read. */
export interface VersionFolder {
  readonly folder: string;
  readonly files: readonly FolderFile[];
  readonly bytes: number;
  readonly manifest: Manifest | undefined;
  readonly config: JsonObject;
  readonly variants: readonly Variant[];
  readonly maxLength: number;
  /** `position_ids` of a row's first token. */
  readonly firstPosition: number;
  readonly activation: Activation;
  readonly objective: string | undefined;
  /** How query and passage become one text; undefined where they are a pair. */
  readonly template: FoundTemplate | undefined;
  /** How a bi-encoder or an interaction model reads query and passage apart; undefined for models that read pairs. */
  readonly encoder: SideEncoder | undefined;
  /** Whether each of its variants is two graphs. */
  readonly isInteraction: boolean;
  /** What the files say and Winnow does not apply, one sentence each. */
  readonly warnings: readonly string[];
}

/** Documents: they are optional and not hashed. */
const DOCUMENTS = /^(README|LICEN[CS]E|NOTICE|COPYING|CHANGELOG)[^/]*$/i;

/** Files of which a version must have at least one. */
const TOKENIZER_FILES = ['tokenizer.json', 'vocab.txt', 'vocab.json', 'spm.model'];

export function refuse(file: string, expected: string, got: string, field: string): never {
  throw new WinnowError('invalid_manifest', { file: excerpt(file), expected, got: excerpt(got), field });
}

/** Whether the manifest has a hash of a file. */
export const isHashed = (path: string) => path !== MANIFEST_FILE && !DOCUMENTS.test(path);

/** Checks size and nesting of all JSON and vocabulary files, before tokenizers and libraries parse those of a hostile folder. */
export async function checkTextFiles(
  folder: string,
  files: readonly FolderFile[],
  limits: FolderLimits,
): Promise<void> {
  for (const { path, bytes } of files) {
    const isTokenizer = TOKENIZER_FILES.includes(path) || path === 'merges.txt';
    if (isTokenizer && bytes > limits.maxTokenizerBytes)
      refuse(path, `at most ${limits.maxTokenizerBytes} bytes`, String(bytes), 'bytes');
    if (!path.endsWith('.json') || path.includes('/')) continue;
    const maxBytes = isTokenizer ? limits.maxTokenizerBytes : limits.maxJsonBytes;
    await checkJson(join(folder, path), path, maxBytes, limits.maxJsonDepth);
  }
}

/** Checks that folder and manifest have the same files with the same sizes. */
function compareWithManifest(files: readonly FolderFile[], listed: NonNullable<Manifest['files']>): void {
  for (const [path, { bytes }] of Object.entries(listed)) {
    const file = files.find((f) => f.path === path);
    if (!file) refuse(path, 'a file the manifest lists', 'nothing', 'files');
    if (file.bytes !== bytes) refuse(path, `${bytes} bytes as the manifest says`, String(file.bytes), 'bytes');
  }
  const extra = files.find(({ path }) => isHashed(path) && !Object.hasOwn(listed, path));
  if (extra) refuse(extra.path, 'only files the manifest lists', 'another one', 'files');
}

/**
 * Reads how a model is served from the files that transformers and sentence-transformers write; an absent file says nothing.
 * @param manifest model.json, whose fields count first.
 * @param names Names that the model is known by beside its folder's.
 * @param encoder Of a bi-encoder.
 * @throws WinnowError `invalid_manifest`.
 */
export async function readSettings(
  folder: string,
  files: readonly FolderFile[],
  limits: FolderLimits,
  manifest: Manifest | undefined,
  names: readonly string[] = [],
  encoder?: SideEncoder | undefined,
) {
  const listed = { folder, paths: new Set(files.map(({ path }) => path)), limits };
  const config = await readOptionalObject(listed, 'config.json');
  const tokenizerConfig = await readOptionalObject(listed, 'tokenizer_config.json');
  const template = encoder ? undefined : await readTemplate(listed, { manifest, config, tokenizerConfig }, names);
  const { activation } = manifest ?? {};
  const wholeGraph = manifest?.wholeGraph ?? (isInteraction(config) || undefined);
  const known = { activation, wholeGraph, config, tokenizerConfig, template, encoder };
  const stated = await readSentenceTransformers(listed, known);
  return { config, tokenizerConfig, stated, template };
}

/**
 * Reads a version's folder: lists it, checks text files, reads `model.json` if it exists, and adopts other settings from the Hugging Face
 * files.
 * @param skip Relative paths of other versions.
 * @throws WinnowError `invalid_manifest`, `unsafe_path`.
 */
export async function readVersionFolder(
  folder: string,
  limits: FolderLimits = DEFAULT_LIMITS,
  skip: ReadonlySet<string> = new Set(),
): Promise<VersionFolder> {
  const files = await listFiles(folder, limits, skip);
  const paths = files.map((f) => f.path);
  const has = (path: string) => paths.includes(path);
  if (!has('config.json')) refuse('config.json', 'a Hugging Face export', 'a folder without it', 'files');
  if (!TOKENIZER_FILES.some(has)) refuse('tokenizer.json', 'a tokenizer (or vocabulary files)', 'none', 'files');
  await checkTextFiles(folder, files, limits);
  const manifest = has(MANIFEST_FILE) ? await readManifest(folder, limits) : undefined;
  if (manifest?.files) compareWithManifest(files, manifest.files);
  const stated0 = await readOptionalObject({ folder, paths: new Set(paths), limits }, 'config.json');
  const interaction = statedInteraction(manifest, stated0, MANIFEST_FILE);
  const encoder = interaction ?? statedEncoder(manifest, MANIFEST_FILE);
  const { config, tokenizerConfig, stated, template } = await readSettings(
    folder,
    files,
    limits,
    manifest,
    [],
    encoder,
  );
  const variants = interaction ? interactionVariants(paths) : variantsOf(paths);
  const unserved = unservedFiles(paths).filter((path) => !interaction || !isHalf(path));
  if (variants.length === 0)
    refuse(
      'onnx/model.onnx',
      'an ONNX file of fp32, fp16 or 8 bits by its name (model.onnx, model_fp16.onnx, model_int8.onnx, …)',
      unserved.join(', ') || 'none',
      'files',
    );
  return {
    folder,
    files,
    bytes: files.reduce((sum, f) => sum + f.bytes, 0),
    manifest,
    config,
    variants,
    maxLength: manifest?.maxLength ?? adoptMaxLength(config, tokenizerConfig, stated.maxLength),
    firstPosition: adoptFirstPosition(config),
    activation: stated.activation ?? (encoder ? 'none' : adoptActivation(config)),
    objective: manifest?.objective,
    template,
    encoder,
    isInteraction: interaction !== undefined,
    warnings: [...stated.warnings, ...instructionWarning(template, manifest), ...unservedWarning(unserved)],
  };
}

const unservedWarning = (files: readonly string[]) =>
  files.length === 0
    ? []
    : [`${excerpt(files.join(', '))}: not served; files of fp32, fp16 and 8 bits with known names are`];

/** Returns the sha256 of a file: that of the manifest, which `verifyHashes` checks, else computed. */
export async function sha256Of(version: VersionFolder, path: string): Promise<string> {
  return version.manifest?.files?.[path]?.sha256 ?? (await sha256File(join(version.folder, path)));
}

/**
 * Compares files with the manifest's hashes, if it has any.
 * @param paths Files to compare. Default: all in the manifest.
 * @throws WinnowError `hash_mismatch`.
 */
export async function verifyHashes(version: VersionFolder, paths?: readonly string[]): Promise<void> {
  for (const [path, { sha256 }] of Object.entries(version.manifest?.files ?? {})) {
    if (paths && !paths.includes(path)) continue;
    const got = await sha256File(join(version.folder, path));
    if (got !== sha256) throw new WinnowError('hash_mismatch', { file: excerpt(path), expected: sha256, got });
  }
}
