import { OPSET } from './builder.ts';
import { freezeGraph, type Model } from './graph.ts';
import { prune, topologicalSort } from './order.ts';
import { probeFeeds, probeShapes } from './probe.ts';
import { decompose } from './rewrites/decompose.ts';
import { foldConstants } from './rewrites/fold.ts';
import { fuseGelu, fuseLayerNorm } from './rewrites/fuse.ts';
import { constantOf, dropIdentities, inlineConstants, inlineFunctions } from './rewrites/inline.ts';
import { raiseOpset } from './rewrites/opset.ts';
import { type FindOptions, findWeights, type Weight } from './weights.ts';

export interface Prepared {
  /**
   * In canonical form: opset 20 or later, no functions, constants folded, one node for a normalization or a GELU, nodes in topological
   * order.
   */
  readonly model: Model;
  readonly weights: readonly Weight[];
}

interface PrepareOptions extends FindOptions {
  /** Keeps this output alone; all outputs by default. */
  readonly output?: string;
}

/**
 * Rewrites an encoder's model into canonical form and finds its weights. Differentiation, dropout, quantization and the rewrites of this
 * room expect that form. Values keep their names, inputs and outputs among them.
 * @throws WinnowError `invalid_graph` if the engine cannot run the model on a tiny batch, or its opset is too old.
 */
export async function prepare(model: Model, options: PrepareOptions = {}): Promise<Prepared> {
  const { output } = options;
  const outputs = model.graph.outputs.filter((o) => output === undefined || o.name === output);
  const inlined = inlineFunctions({ ...model, graph: freezeGraph({ ...model.graph, outputs }) });
  const constants = inlined.graph.nodes.filter((n) => constantOf(n) !== undefined).map((n) => n.outputs[0]!);
  const plain = { ...inlined, graph: prune(dropIdentities(inlineConstants(topologicalSort(inlined.graph)))) };
  const shapes = await probeShapes(plain, probeFeeds(plain.graph.inputs));
  const decomposed = decompose(raiseOpset(plain, shapes, OPSET), shapes);
  const primitive = { ...decomposed, graph: dropIdentities(decomposed.graph) };
  const find: FindOptions = { ...options, constants: new Set([...(options.constants ?? []), ...constants]) };
  const weights = new Set(findWeights(primitive.graph, find).map((w) => w.tensor));
  const folded = await foldConstants(primitive, weights);
  const graph = topologicalSort(fuseGelu(fuseLayerNorm(folded.graph, shapes)));
  return { model: Object.freeze({ ...folded, graph }), weights: findWeights(graph, find) };
}
