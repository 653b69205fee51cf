import type { Checkpoint } from '../architectures/checkpoint.ts';
import { MASK_INPUT } from '../architectures/pooling.ts';
import { appendLayer, openLayers } from '../architectures/post-norm.ts';
import { modelOf } from '../builder.ts';
import type { Model } from '../graph.ts';
import { familyOf, SCALES, STATES, textVector, VECTOR } from './parts.ts';
import { type InteractionSettings, readInteraction } from './settings.ts';

/** Type of the states that are kept of a passage. */
export type KeptType = 'int8' | 'float16';

/** Largest magnitude of int8. */
const LEVELS = 127;
/** Largest float16. */
const LARGEST_HALF = 65504;
/** Keeps the step of a token whose states are all 0 from being 0. */
const LEAST_STEP = 1e-30;

/** Appends the outputs of states [batch, sequence, hidden], rounded: what is read later is the same whether it was kept or computed just now. */
function outputKept({ parts: { g }, sizes }: ReturnType<typeof openLayers>, x: string, kept: KeptType): void {
  const dims = ['batch', 'sequence', sizes.hidden];
  if (kept === 'float16') {
    const inside = g.op('Clip', [x, g.scalar(-LARGEST_HALF), g.scalar(LARGEST_HALF)]);
    g.output(g.cast(inside, 'float16'), 'float16', dims, STATES);
    return;
  }
  const largest = g.reduceMax(g.op('Abs', [x]), [2]);
  const step = g.op('Max', [g.mul(largest, g.scalar(1 / LEVELS)), g.scalar(LEAST_STEP)]);
  const inside = g.op('Clip', [g.op('Round', [g.div(x, step)]), g.scalar(-LEVELS), g.scalar(LEVELS)]);
  g.output(g.cast(inside, 'int8'), 'int8', dims, STATES);
  g.output(g.squeeze(step, [2]), 'float32', ['batch', 'sequence'], SCALES);
}

/**
 * Builds the graph that reads passages: token ids → the states of `settings.states` layers, rounded; of the cosine form also the unit vector of
 * the last layer.
 * @throws WinnowError `invalid_input` with file and field or tensor.
 */
export function passageGraph(checkpoint: Checkpoint, kept: KeptType): { model: Model; settings: InteractionSettings } {
  const stack = openLayers(checkpoint, familyOf(checkpoint));
  const settings = readInteraction(checkpoint.settings, stack.layers.length);
  const isCosine = settings.form === 'cosine';
  let x = stack.x;
  for (const [i, at] of stack.layers.slice(0, isCosine ? undefined : settings.states).entries()) {
    x = appendLayer(stack, at, x);
    if (i + 1 === settings.states) outputKept(stack, x, kept);
  }
  const { g } = stack.parts;
  if (isCosine) {
    const { unit } = textVector(g, x, MASK_INPUT, settings.pooling);
    g.output(unit, 'float32', ['batch', stack.sizes.hidden], VECTOR);
  }
  return { model: modelOf(g.build()), settings };
}
