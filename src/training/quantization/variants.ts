import { join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import type { Model } from '../../onnx/graph.ts';
import { type WriteOptions, writeModel } from '../../onnx/model-file.ts';
import { markdownTable } from '../../reports/markdown.ts';
import type { Validation } from '../measure/validation.ts';
import { type TablePlace, type Variant, variantFile } from '../recipe/variant-names.ts';
import { openRowScorer, type RowScorer } from '../step/row-scorer.ts';
import type { Parity } from './parity.ts';
import { checkParity, halve, type LayerReport, type Quantized, type QuantizeOptions, quantize } from './quantize.ts';
import { refineInt8 } from './refine.ts';

type Maker = (model: Model, output: string, options: QuantizeOptions) => Promise<Quantized>;

const MAKERS: Readonly<Record<Variant, Maker>> = { int8: quantize, fp16: halve };

/** Numbers of the file that a variant is made from. */
export type Precision = 'float32' | 'int8';

/** Refines an int8 file whose float32 file is not at hand. @throws WinnowError `model_refused` where scores leave the bounds. */
const refine: Maker = async (model, _output, options) => {
  const { padId, calibration, seed = 1, attentionNoise, onProgress } = options;
  const refined = await refineInt8(model, calibration, { padId, seed, attentionNoise, onProgress });
  return { model: refined, parity: await checkParity(model, refined, options), layers: [] };
};

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
  /** Of the file it was made from: `fp32`, or `int8` where there is no float32 file. */
  readonly fp32?: number;
  readonly int8?: number;
  readonly small: number;
}

export interface MadeVariant {
  readonly variant: Variant;
  readonly from: Precision;
  readonly file: string;
  readonly parity: Parity;
  readonly layers: readonly LayerReport[];
  readonly effectiveness?: Effectiveness;
  /** What the card calls it; the variant's name if absent. */
  readonly label?: string;
}

/** Rows of a scoring batch. */
const BATCH = 32;

/** Measures a model on a validation set and closes it. */
export async function valueBy(scorer: RowScorer, validation: Validation): Promise<number> {
  try {
    return await validation.value((rows) => scorer.score(rows, { rows: BATCH }));
  } finally {
    await scorer.close();
  }
}

interface VariantOptions {
  /** Measures both files, for the card. */
  readonly validation?: Validation;
  /** Numbers of the file it is made from; `float32` by default. */
  readonly from?: Precision;
  /** Which initializers are stored beside the model file. */
  readonly write?: WriteOptions;
}

/**
 * Makes a variant of a float32 model, or a faster int8 file of an int8 model, and writes it into the model's folder.
 * @throws WinnowError `model_refused` where parity exceeds the bounds.
 */
export async function makeVariant(
  variant: Variant,
  folder: string,
  model: Model,
  output: string,
  options: QuantizeOptions,
  { validation, write, from = 'float32' }: VariantOptions = {},
): Promise<MadeVariant> {
  const maker = from === 'int8' ? refine : MAKERS[variant];
  const made = await maker(model, output, options);
  const file = join(folder, variantFile(variant));
  await writeModel(file, made.model, write);
  const { parity, layers } = made;
  if (!validation) return { variant, from, file, parity, layers };
  const [before, small] = [
    await valueBy(await openRowScorer(model, { padId: options.padId, output }), validation),
    await valueBy(await openRowScorer(made.model, { padId: options.padId, output }), validation),
  ];
  return {
    variant,
    from,
    file,
    parity,
    layers,
    effectiveness: {
      measure: validation.measure,
      queries: validation.queries,
      ...(from === 'int8' ? { int8: before } : { fp32: before }),
      small,
    },
  };
}

/** A smaller file that would have cost too much accuracy, and why. */
export interface RefusedVariant {
  readonly variant: Variant;
  readonly reason: string;
}

/** Makes a variant, or returns why it is refused. @throws every other error. */
export async function tryVariant(
  variant: Variant,
  ...rest: Parameters<typeof makeVariant> extends [Variant, ...infer R] ? R : never
): Promise<MadeVariant | RefusedVariant> {
  try {
    return await makeVariant(variant, ...rest);
  } catch (error) {
    if (!(error instanceof WinnowError) || error.code !== 'model_refused') throw error;
    return { variant, reason: String(error.params.reason) };
  }
}

/** Returns the card's lines about smaller files that were refused, as Markdown; empty without any. */
export const refusedCard = (refused: readonly RefusedVariant[]): string =>
  refused
    .map(
      ({ variant, reason }) => `No ${variant} file: it would cost too much accuracy (${reason}). Serve the others.\n`,
    )
    .join('\n');

/** Returns the card's section about the variants, as Markdown; empty without variants. */
export function parityCard(variants: readonly MadeVariant[]): string {
  const [first] = variants;
  if (!first) return '';
  const measured = variants.find((v) => v.effectiveness)?.effectiveness;
  const hasVectors = first.parity.vectorError !== undefined;
  const isApart = hasVectors || first.parity.isCentered === true;
  const vectors = hasVectors ? ['error of vectors'] : [];
  const head = ['file', 'RMS difference', 'largest', 'spread of scores', 'Kendall τ', ...vectors, 'drift', 'speed'];
  const effectiveness = measured ? `${measured.measure}, ${measured.queries} queries` : 'effectiveness';
  const table = markdownTable(
    [...head, effectiveness].map((label) => ({ label })),
    variants.map(({ variant, label = variant, parity, effectiveness: e }) => [
      label,
      parity.rms.toFixed(4),
      parity.largest.toFixed(4),
      parity.spread.toFixed(isApart ? 4 : 3),
      parity.kendall.toFixed(4),
      ...(hasVectors ? [`${(100 * (parity.vectorError ?? 0)).toFixed(2)} %`] : []),
      parity.batchDrift.toExponential(1),
      parity.speed.toFixed(2),
      e ? `${(e.fp32 ?? e.int8 ?? Number.NaN).toFixed(4)} → ${e.small.toFixed(4)}` : 'not measured',
    ]),
  );
  const against = first.from === 'int8' ? 'the int8 file it was made from' : 'float32';
  return `## ${first.from === 'int8' ? 'The int8 file, made faster' : 'Smaller files'}

Against ${against} on ${first.parity.rows} held-out pairs.${isApart ? ' Scores are compared less the mean of their list.' : ''} Drift: the same pair alone and in a batch. Speed: relative to it by processor time on the machine that made the files, one thread.

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
