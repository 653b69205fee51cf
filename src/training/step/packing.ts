import type { Model } from '../../onnx/graph.ts';
import { probeFeeds, probeShapes } from '../../onnx/probe.ts';
import { type Inverses, packTokens } from '../../onnx/rewrites/pack.ts';
import type { Feeds } from '../../onnx/runner.ts';
import type { Recipe } from '../recipe/recipe.ts';
import type { Backbone } from './backbone.ts';

/** What shows a step the tokens of its rows, for which alone it then computes what belongs to single tokens. */
export interface Packing {
  /** Value [rows, tokens] that is 0 for padding; absent: nothing is packed. */
  readonly packBy?: string | undefined;
}

/** Packs where the backbone tells padding from tokens, on processors and in float32; elsewhere it is not measured. */
export const packingOf = ({ mask }: Backbone, { provider, precision }: Recipe): Packing => ({
  packBy: provider === 'cpu' && precision === 'fp32' ? mask : undefined,
});

/** Returns the model with its tokens packed. @param more inputs of the probing batch beside the model's own. */
export async function packed(
  model: Model,
  { packBy }: Packing,
  more: Feeds = {},
): Promise<{ readonly encoder: Model; readonly inverses: Inverses }> {
  if (packBy === undefined) return { encoder: model, inverses: new Map() };
  const shapes = await probeShapes(model, { ...probeFeeds(model.graph.inputs), ...more });
  const { graph, inverses } = packTokens(model.graph, shapes, packBy);
  return { encoder: { ...model, graph }, inverses };
}
