import type { Model } from '../../onnx/graph.ts';
import { foldInt8 } from '../../onnx/rewrites/int8-fold.ts';
import { paddingBiases } from '../../onnx/rewrites/int8-mask.ts';
import { balanceOf, findScoreProducts, quantizeScores, withLargestScores } from '../../onnx/rewrites/int8-scores.ts';
import type { EncodedRow } from '../../tokenization/tokenization-types.ts';
import { calibrate } from './calibration.ts';
import { chooseClips } from './score-clips.ts';

/** States of queries and of keys by which their ranges are chosen. */
const SAMPLE = 64;

interface RefineOptions {
  readonly padId: number;
  readonly seed: number;
  readonly onProgress?: ((stage: string, done: number, total: number) => void) | undefined;
}

/**
 * Makes an int8 model faster: biases and the smoothing of attention outputs become part of the integer products, and attention scores are
 * computed from 8-bit queries and keys. Needs no float32 weights, only rows that show the range of queries and keys.
 * @param model with products as `MatMulIntegerToFloat`.
 */
export async function refineInt8(
  model: Model,
  rows: readonly EncodedRow[],
  { padId, seed, onProgress }: RefineOptions,
): Promise<Model> {
  const { model: folded, shapes } = await foldInt8(model);
  const products = findScoreProducts(folded.graph, shapes);
  const names = new Set(products.flatMap(({ query, key }) => [query.source, key.source]));
  const values = [...names].map((name) => ({ name, channels: shapes.get(name)!.dims.at(-1)! }));
  if (values.length === 0) return folded;
  const probed = withLargestScores(folded.graph, products);
  const scoreValues = probed.names.map((name) => ({ name, channels: 1 }));
  const seen = await calibrate({ ...folded, graph: probed.graph }, [...values, ...scoreValues], rows, {
    padId,
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
    return { scores, ...maxima, largest: seen.get(probed.names[i]!)!.channelMaxima[0]!, clips };
  });
  const biases = await paddingBiases(folded, shapes);
  return { ...folded, graph: quantizeScores(folded.graph, ranges, shapes, biases) };
}
