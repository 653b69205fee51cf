import { posix } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { WEIGHT_FILES, WHOLE_WEIGHTS } from '../../util/weight-files.ts';
import { excerpt } from '../model-names.ts';
import { ownTargets, type Target } from '../processor.ts';
import { ADAPTER_SETTINGS, MODEL_SETTINGS, MODULE_SETTINGS, MODULES } from '../sentence-transformers.ts';
import type { Variant } from '../version-variants.ts';

/** Which ONNX files: `auto` takes fp32, else the best other variant, else weights; `all` takes every variant. */
export type WantedVariant = 'auto' | 'all' | Variant['name'];

/** ONNX files and their variants, in order of preference. */
export const GRAPHS: readonly (readonly [file: string, variant: Variant['name']])[] = [
  ['onnx/model.onnx', 'fp32'],
  ['onnx/model_fp16.onnx', 'fp16'],
  ['onnx/model_int8.onnx', 'int8'],
  ['onnx/model_quantized.onnx', 'int8'],
  ['onnx/model_uint8.onnx', 'int8'],
];

/** Whether there is an int8 file that every processor runs. */
export const hasInt8 = (paths: ReadonlySet<string>): boolean =>
  GRAPHS.some(([file, variant]) => variant === 'int8' && paths.has(file));

/** Where a graph stands that is not below `onnx/`. */
const TOP_GRAPH = 'model.onnx';

/** Files of a model without weights; each is optional but the first. */
export const SMALL_FILES = [
  'config.json',
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

/** Names of int8 files for a processor, as sentence-transformers writes them. */
const targetedFiles = (target: Target) => ['qint8', 'quint8'].map((type) => `onnx/model_${type}_${target}.onnx`);

/** Names of the int8 files that suit this processor, best first. */
export const ownInt8Files = (): readonly string[] => ownTargets().flatMap(targetedFiles);

/** Returns the ONNX files of a variant. @throws WinnowError `invalid_input` if the repository has none of it. */
export function chooseGraphs(paths: ReadonlySet<string>, variant: WantedVariant, id: string): string[] {
  const there = GRAPHS.filter(([file]) => paths.has(file));
  const unique = there.filter(([, name], i) => there.findIndex((other) => other[1] === name) === i);
  const wanted =
    variant === 'auto' ? unique.slice(0, 1) : unique.filter(([, name]) => variant === 'all' || name === variant);
  if (wanted.length > 0) return wanted.map(([file]) => file);
  if (unique.length === 0 && (variant === 'auto' || variant === 'fp32')) return [TOP_GRAPH];
  throw new WinnowError('invalid_input', {
    where: id,
    expected: `variant ${variant}`,
    got: unique.map(([, name]) => name).join(', ') || 'a repository without ONNX files below onnx/',
  });
}

/** The files of a repository that a model needs. */
export interface Selection {
  readonly small: readonly string[];
  /** ONNX files; their external data is known when they are there. */
  readonly graphs: readonly string[];
  /** Weights in one file, or the index of shards. */
  readonly weights: readonly string[];
}

const MODULE_FILE = /^(\d+_[A-Za-z]\w*)\/(config\.json|model\.safetensors|pytorch_model\.bin)$/;

/** The settings and weights of modules; `pytorch_model.bin` only where there is nothing better. */
function moduleFiles(paths: ReadonlySet<string>): readonly string[] {
  return [...paths].filter((path) => {
    const [, folder, file] = MODULE_FILE.exec(path) ?? [];
    return file !== undefined && (file !== 'pytorch_model.bin' || !paths.has(`${folder}/model.safetensors`));
  });
}

/** Returns the graphs that a repository has of a variant; none where it has weights alone. */
function graphsIn(paths: ReadonlySet<string>, variant: WantedVariant, id: string): readonly string[] {
  const hasGraphs = GRAPHS.some(([file]) => paths.has(file));
  const targeted =
    hasInt8(paths) || !['int8', 'all'].includes(variant) ? undefined : ownInt8Files().find((f) => paths.has(f));
  if (targeted !== undefined && variant === 'int8') return [targeted];
  if (!hasGraphs && !paths.has(TOP_GRAPH) && targeted === undefined) {
    if (variant === 'auto' || variant === 'all' || variant === 'fp32') return [];
    throw new WinnowError('invalid_input', {
      where: id,
      expected: `variant ${variant}`,
      got: 'a repository without ONNX files; pull its weights (--variant fp32) and run `winnow quantize`',
    });
  }
  const chosen = !hasGraphs && variant === 'all' ? [TOP_GRAPH] : chooseGraphs(paths, variant, id);
  return [...chosen, ...(targeted === undefined ? [] : [targeted])].filter((file) => paths.has(file));
}

/**
 * Chooses the files that a model needs, of those that its repository has. Modules of sentence-transformers follow an encoder, so that their
 * folders are read from weights where there are any.
 * @throws WinnowError `invalid_input` for a repository without a model that can be read.
 */
export function selectFiles(paths: ReadonlySet<string>, variant: WantedVariant, id: string): Selection {
  if (!paths.has('config.json')) throw nothingToRead(paths, 'config.json', id);
  const modules = paths.has(MODULES) ? moduleFiles(paths) : [];
  const weights = WEIGHT_FILES.find((path) => paths.has(path));
  if (modules.length > 0 && (variant === 'int8' || variant === 'fp16'))
    throw new WinnowError('invalid_input', {
      where: id,
      expected: `variant ${variant}`,
      got: 'a modular folder, whose ONNX files are its encoder alone; pull fp32 and run `winnow quantize`',
    });
  const graphs = modules.length > 0 && weights !== undefined ? [] : graphsIn(paths, variant, id);
  if (graphs.length === 0 && weights === undefined)
    throw nothingToRead(paths, `an ONNX file, or ${WHOLE_WEIGHTS.join(' or ')} (in shards too)`, id);
  return {
    small: [...SMALL_FILES.filter((path) => paths.has(path)), ...modules],
    graphs,
    weights: graphs.length === 0 && weights !== undefined ? [weights] : [],
  };
}

function nothingToRead(paths: ReadonlySet<string>, expected: string, id: string): WinnowError {
  const got = [...paths].filter((path) => !/^(\.gitattributes|README|LICENSE)/.test(posix.basename(path)));
  return new WinnowError('invalid_input', {
    where: id,
    expected,
    got: excerpt(got.join(', ')) || 'an empty repository',
  });
}
