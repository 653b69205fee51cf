import type { Model } from '../../onnx/graph.ts';
import { foldInt8 } from '../../onnx/rewrites/int8-fold.ts';
import { turnHeads } from '../../onnx/rewrites/int8-heads.ts';
import { paddingBiases } from '../../onnx/rewrites/int8-mask.ts';
import {
  balanceOf,
  findScoreProducts,
  quantizeScores,
  type ScoreRange,
  withScoreExtremes,
} from '../../onnx/rewrites/int8-scores.ts';
import { largest } from '../../onnx/rewrites/linears.ts';
import { orderSums } from '../../onnx/rewrites/ordered-sums.ts';
import { differences } from '../../statistics/samples.ts';
import type { ModelRow } from '../measure/side-rows.ts';
import { calibrate } from './calibration.ts';
import { type Reader, readerOf } from './reader.ts';
import { chooseClips } from './score-clips.ts';
import { scoresOf, varianceOf } from './sensitivity.ts';

/** States of queries and of keys by which their ranges are chosen. */
const SAMPLE = 64;

interface RefineOptions {
  readonly padId: number;
  /** Of pairs, or the rows of a bi-encoder, if absent. */
  readonly reader?: Reader | undefined;
  readonly seed: number;
  /**
   * Largest standard deviation of the change of the model's scores by one layer's 8-bit attention scores alone, as a share of the scores' own;
   * the attention scores of layers above it stay float. Without it all are 8-bit.
   */
  readonly attentionNoise?: number | undefined;
  readonly onProgress?: ((stage: string, done: number, total: number) => void) | undefined;
}

/** Returns the ranges whose attention scores alone change the model's scores by at most `noise`. */
async function quietRanges(
  ranges: readonly ScoreRange[],
  noise: number,
  make: (some: readonly ScoreRange[]) => Model,
  scoresOf: (model: Model) => Promise<Float32Array>,
): Promise<readonly ScoreRange[]> {
  const exact = await scoresOf(make([]));
  const bound = noise ** 2 * varianceOf(exact);
  const quiet: ScoreRange[] = [];
  for (const range of ranges) {
    const got = await scoresOf(make([range]));
    if (varianceOf(differences(got, exact)) <= bound) quiet.push(range);
  }
  return quiet;
}

/**
 * Makes an int8 model faster: biases and the smoothing of attention outputs become part of the integer products, and attention scores are
 * computed from 8-bit queries and keys. Sums over tokens get one order. Needs no float32 weights, only rows that show the range of queries and keys.
 * @param model with products as `MatMulIntegerToFloat`.
 */
export async function refineInt8(
  model: Model,
  rows: readonly ModelRow[],
  { padId, reader, seed, attentionNoise, onProgress }: RefineOptions,
): Promise<Model> {
  const { model: folded, shapes } = await foldInt8(model);
  const products = findScoreProducts(folded.graph, shapes);
  const names = new Set(products.flatMap(({ query, key }) => [query.source, key.source]));
  const values = [...names].map((name) => ({ name, channels: shapes.get(name)!.dims.at(-1)! }));
  if (values.length === 0) return { ...folded, graph: orderSums(turnHeads(folded.graph, shapes), shapes) };
  const probed = withScoreExtremes(folded.graph, products);
  const scoreValues = products.flatMap(({ biased }, i) => {
    const channels = shapes.get(biased)!.dims[1]!;
    return Object.values(probed.extremes[i]!).map((name) => ({ name, channels }));
  });
  const seen = await calibrate({ ...folded, graph: probed.graph }, [...values, ...scoreValues], rows, {
    padId,
    reader,
    seed,
    sampleSize: SAMPLE,
    onBatch: (done, total) => onProgress?.('attention', done, total),
  });
  const ranges = products.map((scores, i) => {
    const [query, key] = [seen.get(scores.query.source)!, seen.get(scores.key.source)!];
    const maxima = { query: query.channelMaxima, key: key.channelMaxima };
    // States of whole tokens only: those of single heads do not show which query meets which key.
    const whole = shapes.get(scores.query.source)!.dims.length < 4 && maxima.query.length === maxima.key.length;
    const size = shapes.get(scores.product.inputs[0]!)!.dims.at(-1)!;
    const clips = whole ? chooseClips(query, key, balanceOf(maxima), size) : { query: 1, key: 1 };
    const { highest, lowest } = probed.extremes[i]!;
    const span = largest(seen.get(highest)!.channelPeaks) + largest(seen.get(lowest)!.channelPeaks);
    return { scores, ...maxima, span, clips };
  });
  const biases = await paddingBiases(folded, shapes);
  const make = (some: readonly ScoreRange[]): Model => ({
    ...folded,
    graph: orderSums(turnHeads(quantizeScores(folded.graph, some, shapes, biases), shapes), shapes),
  });
  if (attentionNoise === undefined) return make(ranges);
  return make(
    await quietRanges(ranges, attentionNoise, make, (some) => scoresOf(some, rows, readerOf({ padId, reader }))),
  );
}
