import type { Provider } from '../inference/inference-types.ts';
import { ownTargets, type Target, targetOf } from './processor.ts';

export type VariantPreference = 'auto' | 'fp32' | 'fp16' | 'int8';

export interface Variant {
  readonly name: Exclude<VariantPreference, 'auto'>;
  /** Path of the ONNX file that gives scores, relative to the version's folder. */
  readonly file: string;
  /** Of an interaction model, that of the file that reads passages. */
  readonly passages?: string;
}

/**
 * File names without `.onnx`, as written by optimum, transformers.js and sentence-transformers, in order of preference: the graph as exported
 * before optimized ones, and less changed ones first (O3 approximates GELU, O4 is O3 in float16).
 */
const STEMS: readonly (readonly [RegExp, Variant['name']])[] = [
  [/^model$/, 'fp32'],
  [/^model_fp32$/, 'fp32'],
  [/^model_O1$/, 'fp32'],
  [/^model_O2$/, 'fp32'],
  [/^model_O3$/, 'fp32'],
  [/^model_optimized$/, 'fp32'],
  [/^model_fp16$/, 'fp16'],
  [/^model_O4$/, 'fp16'],
  [/^model_int8$/, 'int8'],
  [/^model_quantized$/, 'int8'],
  [/^model_uint8$/, 'int8'],
  [/^model_(O[123]|optimized)_(int8|quantized|uint8)$/, 'int8'],
  [/^model_((O[123]|optimized)_)?qu?int8(_[a-z0-9_]+)?$/, 'int8'],
];

/** The folders of ONNX files; the first is preferred. */
const FOLDERS = ['onnx/', ''];

const matches = (path: string, folder: string, stem: RegExp) =>
  path.startsWith(folder) && path.endsWith('.onnx') && stem.test(path.slice(folder.length, -'.onnx'.length));

/** Orders files of one stem: made for no processor, then for this one, best first, then for others. */
function suitability(file: string, targets: readonly Target[]): number {
  const target = targetOf(file);
  if (target === undefined) return -1;
  return targets.includes(target) ? targets.indexOf(target) : targets.length;
}

/**
 * Returns the ONNX files of a version, one for each variant. A file in `onnx/` is preferred to one in the top folder, and among int8 files
 * for different processors the one for this.
 */
export function variantsOf(paths: readonly string[], targets: readonly Target[] = ownTargets()): readonly Variant[] {
  const found: Variant[] = [];
  for (const [stem, name] of STEMS)
    for (const folder of FOLDERS) {
      const [file] = paths
        .filter((path) => matches(path, folder, stem))
        .sort((a, b) => suitability(a, targets) - suitability(b, targets));
      if (file !== undefined && !found.some((v) => v.name === name)) found.push({ name, file });
    }
  return found;
}

/** Whether a file is made for another processor than this: its 8-bit products may saturate, which changes scores. */
export function isForeign(file: string, targets: readonly Target[] = ownTargets()): boolean {
  const target = targetOf(file);
  return target !== undefined && !targets.includes(target);
}

/** Returns the ONNX files in the folders of ONNX files that are no variant, such as 4-bit ones. */
export const unservedFiles = (paths: readonly string[]): readonly string[] =>
  paths.filter(
    (path) =>
      FOLDERS.some((folder) => matches(path, folder, /^[^/]+$/)) &&
      !STEMS.some(([stem]) => FOLDERS.some((folder) => matches(path, folder, stem))),
  );

/** Returns the name under which a self-test records scores: files for different processors give different ones. */
export function recordName({ name, file }: Variant): string {
  const target = targetOf(file);
  return target === undefined ? name : `${name}_${target}`;
}

const ORDER: Readonly<Record<Provider, readonly Variant['name'][]>> = {
  cpu: ['int8', 'fp32', 'fp16'],
  cuda: ['fp16', 'fp32', 'int8'],
  webgpu: ['fp16', 'fp32', 'int8'],
};

/** Returns the variants in order of preference: only the named one, or for `auto` those that suit the provider. May be empty. */
export function preferredVariants(
  variants: readonly Variant[],
  preference: VariantPreference,
  provider: Provider,
): readonly Variant[] {
  const wanted = preference === 'auto' ? ORDER[provider] : [preference];
  return wanted.flatMap((name) => variants.filter((v) => v.name === name));
}
