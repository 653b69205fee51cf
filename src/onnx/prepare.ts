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
  /** Canonical form: opset 20 or later, no functions, constants folded, normalizations and GELUs in one node, nodes in order. */
  readonly model: Model;
  readonly weights: readonly Weight[];
}

interface PrepareOptions extends FindOptions {
  /** The output kept; all others are dropped. Default: all are kept. */
  readonly output?: string;
}

/**
 * Brings any encoder's model into the form the gradient rules, the dropout rewrite and the objectives work on, and finds its weights.
 * Values keep their names, so the graph's inputs and outputs are what they were.
 * @throws WinnowError `invalid_graph` if the engine cannot run it on a tiny batch, or its opset is too old.
 */
export async function prepare(model: Model, options: PrepareOptions = {}): Promise<Prepared> {
  const only =
    options.output === undefined ? model.graph.outputs : model.graph.outputs.filter((o) => o.name === options.output);
  const whole = inlineFunctions({ ...model, graph: freezeGraph({ ...model.graph, outputs: only }) });
  const written = new Set(whole.graph.nodes.filter((n) => constantOf(n) !== undefined).map((n) => n.outputs[0]!));
  const plain = { ...whole, graph: prune(dropIdentities(inlineConstants(topologicalSort(whole.graph)))) };
  const shapes = await probeShapes(plain, probeFeeds(plain.graph.inputs));
  const spelt = decompose(raiseOpset(plain, shapes, OPSET), shapes);
  const raised = { ...spelt, graph: dropIdentities(spelt.graph) };
  const find: FindOptions = { ...options, written: new Set([...(options.written ?? []), ...written]) };
  const candidates = new Set(findWeights(raised.graph, find).map((w) => w.tensor));
  const folded = await foldConstants(raised, candidates);
  const graph = topologicalSort(fuseGelu(fuseLayerNorm(folded.graph, shapes)));
  return { model: Object.freeze({ ...folded, graph }), weights: findWeights(graph, find) };
}
