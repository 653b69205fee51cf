import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { WinnowError } from '../../errors.ts';
import type { Batch } from '../data/batches.ts';
import { type LossScale, NO_SCALE } from '../optimizers/loss-scale.ts';
import { batchFeeds, commonSize, type SessionFeeds, stackTensors } from './feeds.ts';
import { LOOP } from './loop.ts';
import { NAMES } from './names.ts';
import {
  lossScaleAfter,
  runWithState,
  type StepInput,
  type Stepper,
  type StepperOptions,
  type StepResult,
  scalarFeeds,
  stateBuffers,
} from './stepper.ts';

const STATE_NAMES = { from: LOOP.from, after: LOOP.after };

/** Returns the one batch of a step; a loop takes one batch per step. @throws WinnowError `invalid_input`. */
function singleBatch({ batches }: StepInput, queries: number): Batch {
  const [batch, ...more] = batches;
  if (batch === undefined || more.length > 0 || batch.queries !== queries)
    throw new WinnowError('invalid_input', {
      where: 'steps of one run',
      expected: `one batch of ${queries} lists a step`,
      got: `${batches.length} batches, the first of ${batch?.queries ?? 0} lists`,
    });
  return batch;
}

/** Makes the stacked feeds of all steps; batches are padded to a common size. */
async function stackedFeeds(
  session: InferenceSession,
  steps: readonly StepInput[],
  options: StepperOptions,
  scale: LossScale,
): Promise<{ feeds: SessionFeeds; passages: number }> {
  const batches = steps.map((s) => singleBatch(s, steps[0]!.batches[0]!.queries));
  const size = commonSize(batches);
  const inputs = session.inputNames.map((name) => name.replace(/^each\./, ''));
  const each: SessionFeeds[] = [];
  for (const [i, { step, rates, extra }] of steps.entries())
    each.push({
      ...batchFeeds(batches[i]!, inputs, options.padId, size),
      ...scalarFeeds(rates, step, options.optimizer, scale),
      ...(await extra?.(batches[i]!, 0, size)),
    });
  const feeds = Object.keys(each[0]!).map((name) => [
    LOOP.each(name),
    stackTensors(each.map((f) => f[name] as Tensor)),
  ]);
  return { feeds: Object.fromEntries(feeds) as SessionFeeds, passages: size.passages };
}

/** Returns the scores [queries, padded] at the places of the batch before padding. */
function withoutPadding(scores: Float32Array, { queries, passages }: Batch, padded: number): Float32Array {
  const own = new Float32Array(queries * passages);
  for (let q = 0; q < queries; q++) own.set(scores.subarray(q * padded, q * padded + passages), q * passages);
  return own;
}

/** Takes several steps per run of the session, with the optimizer in the graph. @param session of a `loopOf` model. */
export function createLoopStepper(session: InferenceSession, options: StepperOptions): Stepper {
  const buffers = stateBuffers(options);
  const scaled = options.lossScale !== undefined;
  let scale = options.lossScale ?? NO_SCALE;
  const run: Stepper['run'] = async (steps) => {
    const { feeds, passages } = await stackedFeeds(session, steps, options, scale);
    const results = await runWithState(session, feeds, [buffers], STATE_NAMES);
    const all = (name: string): Float32Array => (results[LOOP.all(name)] as Tensor).data as Float32Array;
    const [losses, norms, scores] = [all(NAMES.loss), all(NAMES.norm), all(NAMES.scores)];
    const stride = scores.length / steps.length;
    return steps.map(({ batches }, i): StepResult => {
      const norm = norms[i]!;
      const after = lossScaleAfter(scale, scaled, norm);
      scale = after.scale;
      const own = withoutPadding(scores.subarray(i * stride, (i + 1) * stride), batches[0]!, passages);
      return { loss: losses[i]!, norm, scores: own, skipped: after.skipped };
    });
  };
  return {
    run,
    step: async (batches, step, rates, extra) => (await run([{ batches, step, rates, ...(extra && { extra }) }]))[0]!,
    tensors: () => Object.fromEntries(options.weights.map(({ name }) => [name, buffers.current.get(name)!])),
    state: () => new Map([...buffers.current].map(([name, tensor]) => [name, tensor.data as Float32Array])),
    lossScale: () => scale,
  };
}
