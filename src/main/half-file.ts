import { dirname, join } from 'node:path';
import { holdWeights, type Model } from '../onnx/graph.ts';
import { writeModel } from '../onnx/model-file.ts';
import { prepare } from '../onnx/prepare.ts';
import { probeFeeds, probeShapes } from '../onnx/probe.ts';
import { foldConstants } from '../onnx/rewrites/fold.ts';
import { halveModel } from '../onnx/rewrites/fp16.ts';
import { type Feeds, runOnce } from '../onnx/runner.ts';
import { numbers } from '../onnx/tensor.ts';

/** Largest difference of a score, relative to those above 1, that float16 arithmetic may make; bfloat16 weights can be beyond its range. */
const TOLERANCE = 0.02;
const ROWS = 4;
/** Token ids are below it: every vocabulary has as many. */
const LENGTH = 20;

/**
 * Writes `model_fp16.onnx` beside the float32 file of a model whose weights were published in half precision, so that a GPU serves them as
 * they are. It is left out where its scores on made-up rows are not those of float32.
 * @returns A warning where it was left out.
 */
export async function writeHalf(model: Model, file: string): Promise<readonly string[]> {
  const prepared = await prepare(holdWeights(model), { output: 'logits' });
  const whole = await foldConstants(prepared.model);
  const half = halveModel(whole, await probeShapes(whole));
  const apart = await distance(whole, half);
  if (!(apart <= TOLERANCE)) {
    const change = `float16 changes scores (by ${apart.toPrecision(2)} of their size)`;
    return [`${change}: GPUs serve the float32 file`];
  }
  await writeModel(join(dirname(file), 'model_fp16.onnx'), half);
  return [];
}

/** Returns the largest difference of the scores of made-up rows, relative to those above 1. */
async function distance(whole: Model, half: Model): Promise<number> {
  const feeds = probeFeeds(whole.graph.inputs, ROWS, LENGTH);
  const [expected, got] = [await scores(whole, feeds), await scores(half, feeds)];
  return Math.max(...expected.map((x, i) => Math.abs(x - got[i]!) / Math.max(1, Math.abs(x))));
}

const scores = async (model: Model, feeds: Feeds): Promise<readonly number[]> =>
  numbers((await runOnce(model, feeds)).logits!);
