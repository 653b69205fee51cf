import { join } from 'node:path';

/** Smaller files of a model, made from its float32 file. */
export const VARIANTS = ['int8', 'fp16'] as const;
export type Variant = (typeof VARIANTS)[number];

/** Returns the file of a variant inside a version's folder. */
export const variantFile = (variant: Variant): string => join('onnx', `model_${variant}.onnx`);

/** Where word embeddings are stored: in the model file, or in a file beside it. */
export const TABLE_PLACES = ['inside', 'beside'] as const;
export type TablePlace = (typeof TABLE_PLACES)[number];
