import type { Model } from '../../src/onnx/graph.ts';
import { prepare } from '../../src/onnx/prepare.ts';
import { quantizeModel } from '../../src/onnx/rewrites/int8.ts';
import { findLinears } from '../../src/onnx/rewrites/linears.ts';
import { narrowModel } from '../../src/onnx/rewrites/narrow.ts';
import type { EncodedRow } from '../../src/tokenization/tokenization-types.ts';
import { calibrate, inputsOf } from '../../src/training/quantization/calibration.ts';
import { smoothingOf } from '../../src/training/quantization/group-search.ts';
import { refineInt8 } from '../../src/training/quantization/refine.ts';

const ALPHA = 0.8;
const LEVELS = 127;
const ZERO_POINT = 128;

/**
 * Quantizes every layer of a model to int8 as `winnow quantize` does, without its search for the best ranges: the file has the speed of a
 * quantized one, and scores that nothing is known of.
 */
export async function roughInt8(source: Model, rows: readonly EncodedRow[], padId: number): Promise<Model> {
  const { model: canonical } = await prepare(source, { output: source.graph.outputs[0]!.name });
  const model = await narrowModel(canonical);
  const groups = findLinears(model.graph);
  const seen = await calibrate(model, inputsOf(groups), rows, { padId, seed: 1, sampleSize: 1 });
  const quantized = groups.map((group) => {
    const { channelMaxima } = seen.get(group.input)!;
    const smoothing = smoothingOf(group, channelMaxima, ALPHA);
    const top = channelMaxima.reduce((most, x, c) => Math.max(most, x / smoothing[c]!), 0);
    return { group, smoothing, step: top / LEVELS || 1, zeroPoint: ZERO_POINT, corrections: new Map() };
  });
  return refineInt8(quantizeModel(model, quantized), rows, { padId, seed: 1 });
}
