import type { Model } from '../onnx/graph.ts';
import { readModel } from '../onnx/model-file.ts';
import { earlyScorer } from '../onnx/rewrites/early-score.ts';
import type { LoadSpec } from './inference-types.ts';

/**
 * Returns the part of a file's graph that computes an early score. A rewritten file may have other values than the one that was calibrated, so
 * the exported one is read.
 * @throws WinnowError `invalid_graph` where the file lacks the value.
 */
export async function earlyGraph(
  { file, exported }: Pick<LoadSpec, 'file' | 'exported'>,
  { value, weights }: NonNullable<LoadSpec['early']>,
): Promise<Model> {
  return earlyScorer(await readModel(exported ?? file), { value, weights: Float32Array.from(weights) });
}
