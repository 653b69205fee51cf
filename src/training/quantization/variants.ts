import { join } from 'node:path';
import type { Model } from '../../onnx/graph.ts';
import { type WriteOptions, writeModel } from '../../onnx/model-file.ts';
import { encodeModel } from '../../onnx/protobuf-write.ts';
import { markdownTable } from '../../reports/markdown.ts';
import type { Validation } from '../measure/validation.ts';
import { type TablePlace, type Variant, variantFile } from '../recipe/variant-names.ts';
import { openRowScorer } from '../step/row-scorer.ts';
import type { Parity } from './parity.ts';
import { halve, type LayerReport, type Quantized, type QuantizeOptions, quantize } from './quantize.ts';

const MAKERS: Readonly<
  Record<Variant, (model: Model, output: string, options: QuantizeOptions) => Promise<Quantized>>
> = { int8: quantize, fp16: halve };

/** Bytes from which a table is stored in a file of its own. */
const LARGE_TABLE = 4 * 2 ** 20;

/** Returns how a model file named `stem` is written so that its large tables are inside it or beside it. */
export const tablesIn = (place: TablePlace | undefined, stem: string): WriteOptions =>
  place === 'beside'
    ? {
        dataFile: `${stem}.tables`,
        outside: (_, { dims, bytes }) => dims.length === 2 && bytes.byteLength >= LARGE_TABLE,
      }
    : {};

/** Effectiveness of both files on a validation set. */
interface Effectiveness {
  readonly measure: string;
  readonly queries: number;
  readonly fp32: number;
  readonly small: number;
}

export interface MadeVariant {
  readonly variant: Variant;
  readonly file: string;
  readonly parity: Parity;
  readonly layers: readonly LayerReport[];
  readonly effectiveness?: Effectiveness;
}

/** Rows of a scoring batch. */
const BATCH = 32;

async function validationValue(model: Model, output: string, padId: number, validation: Validation): Promise<number> {
  const scorer = await openRowScorer(encodeModel(model), { padId, output });
  try {
    return await validation.value((rows) => scorer.score(rows, { rows: BATCH }));
  } finally {
    await scorer.close();
  }
}

interface VariantOptions {
  /** Measures both files, for the card. */
  readonly validation?: Validation;
  /** Which initializers are stored beside the model file. */
  readonly write?: WriteOptions;
}

/**
 * Makes a variant of a float32 model and writes it into the model's folder.
 * @throws WinnowError `model_refused` where parity exceeds the bounds.
 */
export async function makeVariant(
  variant: Variant,
  folder: string,
  model: Model,
  output: string,
  options: QuantizeOptions,
  { validation, write }: VariantOptions = {},
): Promise<MadeVariant> {
  const made = await MAKERS[variant](model, output, options);
  const file = join(folder, variantFile(variant));
  await writeModel(file, made.model, write);
  const { parity, layers } = made;
  if (!validation) return { variant, file, parity, layers };
  const [fp32, small] = [
    await validationValue(model, output, options.padId, validation),
    await validationValue(made.model, output, options.padId, validation),
  ];
  return {
    variant,
    file,
    parity,
    layers,
    effectiveness: { measure: validation.measure, queries: validation.queries, fp32, small },
  };
}

/** Returns the card's section about the variants, as Markdown; empty without variants. */
export function parityCard(variants: readonly MadeVariant[]): string {
  const [first] = variants;
  if (!first) return '';
  const measured = variants.find((v) => v.effectiveness)?.effectiveness;
  const head = ['file', 'RMS difference', 'largest', 'spread of scores', 'Kendall τ', 'drift', 'speed'];
  const effectiveness = measured ? `${measured.measure}, ${measured.queries} queries` : 'effectiveness';
  const table = markdownTable(
    [...head, effectiveness].map((label) => ({ label })),
    variants.map(({ variant, parity, effectiveness: e }) => [
      variant,
      parity.rms.toFixed(4),
      parity.largest.toFixed(4),
      parity.spread.toFixed(3),
      parity.kendall.toFixed(4),
      parity.batchDrift.toExponential(1),
      parity.speed.toFixed(2),
      e ? `${e.fp32.toFixed(4)} → ${e.small.toFixed(4)}` : 'not measured',
    ]),
  );
  return `## Smaller files

Against float32 on ${first.parity.rows} held-out pairs. Drift: the same pair alone and in a batch. Speed: relative to float32 on the machine that made the files, one thread.

${table}
`;
}

/** Returns what `model.json` stores about the variants. */
export function parityFacts(variants: readonly MadeVariant[]) {
  return Object.fromEntries(
    variants.map(({ variant, parity, layers, effectiveness }) => [
      variant,
      {
        ...parity,
        keptInFloat: layers.filter((l) => l.kept).flatMap((l) => [...l.layers]),
        ...(effectiveness && { effectiveness: { ...effectiveness } }),
      },
    ]),
  );
}
