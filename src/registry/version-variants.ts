import type { Provider } from '../inference/inference-types.ts';

export type VariantPreference = 'auto' | 'fp32' | 'fp16' | 'int8';

export interface Variant {
  readonly name: Exclude<VariantPreference, 'auto'>;
  /** Path of the ONNX file, relative to the version's folder. */
  readonly file: string;
}

/** File names without `.onnx`, as optimum, transformers.js and sentence-transformers write them; earlier ones win. */
const STEMS: readonly (readonly [RegExp, Variant['name']])[] = [
  [/^model$/, 'fp32'],
  [/^model_fp16$/, 'fp16'],
  [/^model_int8$/, 'int8'],
  [/^model_quantized$/, 'int8'],
  [/^model_uint8$/, 'int8'],
  [/^model_qu?int8_[a-z0-9_]+$/, 'int8'],
];

/** The ONNX files of a version: one a variant, `onnx/` before the top folder. */
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

/** Variants in the order in which they are to be served: the one asked for, or by provider. Empty if the one asked for is absent. */
export function inOrder(
  variants: readonly Variant[],
  preference: VariantPreference,
  provider: Provider,
): readonly Variant[] {
  const wanted = preference === 'auto' ? ORDER[provider] : [preference];
  return wanted.flatMap((name) => variants.filter((v) => v.name === name));
}
