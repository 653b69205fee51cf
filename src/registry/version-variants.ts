import type { Provider } from '../inference/inference-types.ts';

export type VariantPreference = 'auto' | 'fp32' | 'fp16' | 'int8';

export interface Variant {
  readonly name: Exclude<VariantPreference, 'auto'>;
  /** Path of the ONNX file, relative to the version's folder. */
  readonly file: string;
}

/** File names without `.onnx`, as written by optimum, transformers.js and sentence-transformers, in order of preference. */
const STEMS: readonly (readonly [RegExp, Variant['name']])[] = [
  [/^model$/, 'fp32'],
  [/^model_fp16$/, 'fp16'],
  [/^model_int8$/, 'int8'],
  [/^model_quantized$/, 'int8'],
  [/^model_uint8$/, 'int8'],
  [/^model_qu?int8_[a-z0-9_]+$/, 'int8'],
];

/** Returns the ONNX files of a version, one for each variant. A file in `onnx/` is preferred to one in the top folder. */
export function variantsOf(paths: readonly string[]): readonly Variant[] {
  const found: Variant[] = [];
  for (const [stem, name] of STEMS)
    for (const folder of ['onnx/', '']) {
      const file = paths.find(
        (p) => p.startsWith(folder) && p.endsWith('.onnx') && stem.test(p.slice(folder.length, -'.onnx'.length)),
      );
      if (file !== undefined && !found.some((v) => v.name === name)) found.push({ name, file });
    }
  return found;
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
