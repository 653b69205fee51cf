import { join, posix } from 'node:path';
import { WinnowError } from '../errors.ts';
import type { Provider, Reduction } from '../inference/inference-types.ts';
import { INPUTS } from '../inference/padding.ts';
import { sha256File } from '../util/files.ts';
import type { JsonObject } from '../util/json-files.ts';
import type { FoundTemplate } from '../util/known-templates.ts';
import { adoptActivation, adoptFirstPosition, adoptMaxLength, adoptReduction } from './adoption.ts';
import {
  checkJson,
  DEFAULT_LIMITS,
  type FolderFile,
  type FolderLimits,
  listFiles,
  readOptionalObject,
} from './folder-files.ts';
import { MANIFEST_FILE, type Manifest, readManifest } from './manifest.ts';
import { excerpt, isSafePath } from './model-names.ts';
import { type GraphFacts, scanOnnx } from './onnx-scan.ts';
import type { Activation, SideEncoder } from './registry-types.ts';
import { readSentenceTransformers } from './sentence-transformers.ts';
import { statedEncoder } from './side-encoder.ts';
import { instructionWarning, readTemplate } from './version-template.ts';
import {
  isForeign,
  preferredVariants,
  unservedFiles,
  type Variant,
  type VariantPreference,
  variantsOf,
} from './version-variants.ts';

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
  /** How a bi-encoder reads query and passage apart; undefined for models that read pairs. */
  readonly encoder: SideEncoder | undefined;
  /** What the files say and Winnow does not apply, one sentence each. */
  readonly warnings: readonly string[];
}

/** The ONNX file of a version that is served. */
export interface ChosenGraph {
  readonly variant: Variant;
  /** External data files, relative to the version's folder. */
  readonly external: readonly string[];
  readonly reduction: Reduction;
  /** Size of the file and its external data in bytes. */
  readonly bytes: number;
  /** Operators that compute over the rows of a batch together, so that a score may depend on co-batched rows. */
  readonly batchOps: readonly string[];
  /** Whether the graph can tell padding from text. */
  readonly isMasked: boolean;
  /** Whether Winnow made the file, so that nothing in it is to rewrite. */
  readonly isOwn: boolean;
}

const KNOWN_INPUTS = Object.keys(INPUTS);

/** Documents: they are optional and not hashed. */
const DOCUMENTS = /^(README|LICEN[CS]E|NOTICE|COPYING|CHANGELOG)[^/]*$/i;

/** Files of which a version must have at least one. */
const TOKENIZER_FILES = ['tokenizer.json', 'vocab.txt', 'vocab.json', 'spm.model'];

function refuse(file: string, expected: string, got: string, field: string): never {
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
  const { activation, wholeGraph } = manifest ?? {};
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
  const encoder = statedEncoder(manifest, MANIFEST_FILE);
  const { config, tokenizerConfig, stated, template } = await readSettings(
    folder,
    files,
    limits,
    manifest,
    [],
    encoder,
  );
  const variants = variantsOf(paths);
  const unserved = unservedFiles(paths);
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
    warnings: [...stated.warnings, ...instructionWarning(template, manifest), ...unservedWarning(unserved)],
  };
}

const unservedWarning = (files: readonly string[]) =>
  files.length === 0
    ? []
    : [`${excerpt(files.join(', '))}: not served; files of fp32, fp16 and 8 bits with known names are`];

function checkInputs(graph: GraphFacts, file: string): void {
  const names = graph.inputs.map((v) => v.name);
  if (!names.includes('input_ids') || names.some((name) => !KNOWN_INPUTS.includes(name)))
    refuse(
      file,
      `inputs input_ids and any of ${KNOWN_INPUTS.filter((name) => name !== 'input_ids').join(', ')}`,
      names.join(', ') || 'none',
      'inputs',
    );
}

/** Returns the width of the output that a host reads (`logits`, else the first) if it is fixed. */
function outputWidth(graph: GraphFacts, file: string): number | undefined {
  const output = graph.outputs.find((v) => v.name === 'logits') ?? graph.outputs[0]!;
  const { shape } = output;
  if (shape !== undefined && (shape.length === 0 || shape.length > 2))
    refuse(
      file,
      'an output [N, 1] (or [N, k])',
      `${output.name} of ${shape.length} dimensions: an export without its classification head?`,
      'outputs',
    );
  return shape?.length === 1 ? 1 : shape?.[1];
}

function reductionOf(version: VersionFolder, width: number | undefined, file: string): Reduction {
  const { manifest, config, encoder } = version;
  if (encoder) return { kind: 'vector' };
  const reduction = manifest?.reduction ?? adoptReduction(config, width);
  if (width === undefined || reduction.kind === 'vector') return reduction;
  if (reduction.kind === 'single' ? width !== 1 : width < 2 || reduction.index >= width)
    refuse(
      file,
      reduction.kind === 'single' ? 'an output [N, 1]' : `an output above class ${reduction.index}`,
      `[N, ${width}]`,
      'reduction',
    );
  return reduction;
}

/** Checks that external data is in the folder, in the list of files, and long enough. Returns its paths. */
function externalFiles(version: VersionFolder, graph: GraphFacts, file: string): readonly string[] {
  return graph.external.map(({ location, bytes }) => {
    if (!isSafePath(location))
      throw new WinnowError('unsafe_path', { file: excerpt(file), got: `external data at "${excerpt(location)}"` });
    const path = posix.join(posix.dirname(file), location);
    const found = version.files.find((f) => f.path === path);
    if (!found) refuse(path, `the external data of ${file}`, 'nothing', 'files');
    if (found.bytes < bytes) refuse(path, `at least ${bytes} bytes of external data`, String(found.bytes), 'bytes');
    return path;
  });
}

/** The product of `winnow quantize`. No exporter writes it; such files keep the name of the tool that exported the float32 file. */
const OWN_OP = 'MatMulIntegerToFloat';

/** Operators that compute the scale of a quantized tensor from all rows of a batch: dynamic int8. */
const BATCH_OPS = ['DynamicQuantizeLinear', 'DynamicQuantizeMatMul', 'DynamicQuantizeLSTM'];

const batchOpsOf = (graph: GraphFacts): readonly string[] => BATCH_OPS.filter((op) => graph.ops.has(op));

async function scan(version: VersionFolder, variant: Variant): Promise<{ variant: Variant; graph: GraphFacts }> {
  return { variant, graph: await scanOnnx(join(version.folder, variant.file), variant.file) };
}

/**
 * Chooses the ONNX file to serve and checks protobuf, inputs, output and external data without loading it.
 * @throws WinnowError `invalid_manifest`, `unsafe_path`.
 */
export async function chooseGraph(
  version: VersionFolder,
  preference: VariantPreference,
  provider: Provider,
): Promise<ChosenGraph> {
  const [first, ...others] = preferredVariants(version.variants, preference, provider);
  if (!first) return refuse('onnx', `variant ${preference}`, version.variants.map((v) => v.name).join(', '), 'variant');
  let chosen = await scan(version, first);
  // A variant whose scores depend on co-batched rows or on the processor is the last choice.
  const isLast = batchOpsOf(chosen.graph).length > 0 || isForeign(first.file);
  if (preference === 'auto' && isLast && others[0]) chosen = await scan(version, others[0]);
  const { variant, graph } = chosen;
  checkInputs(graph, variant.file);
  const external = externalFiles(version, graph, variant.file);
  const size = (path: string) => version.files.find((f) => f.path === path)!.bytes;
  return {
    variant,
    external,
    reduction: reductionOf(version, outputWidth(graph, variant.file), variant.file),
    bytes: [variant.file, ...external].reduce((sum, path) => sum + size(path), 0),
    batchOps: batchOpsOf(graph),
    isMasked: graph.inputs.some((input) => input.name === 'attention_mask'),
    isOwn: graph.producer === 'winnow' || graph.ops.has(OWN_OP),
  };
}

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

/** Returns the files that a served version uses: the graph, its external data, and the small files (config and tokenizer). */
export function servedFiles(version: VersionFolder, graph: ChosenGraph): readonly string[] {
  const isWeights = (path: string) => path.includes('/') || path.includes('.onnx');
  const small = version.files.map((f) => f.path).filter((path) => !isWeights(path));
  return [...small, graph.variant.file, ...graph.external];
}
