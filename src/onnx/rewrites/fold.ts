import { freezeGraph, type Graph, type Model, type Node, reads } from '../graph.ts';
import { prune } from '../order.ts';
import { runOnce } from '../runner.ts';

const RANDOM: ReadonlySet<string> = new Set([
  'RandomNormal',
  'RandomUniform',
  'RandomNormalLike',
  'RandomUniformLike',
  'Multinomial',
  'Bernoulli',
  'Dropout',
]);
/** Bytes above which a result is cheaper to compute than to store. */
const KEEP_BYTES = 4 << 20;

/** Replaces nodes that depend on constants alone by their results, computed by the engine. Values that depend on `except` (weights) stay. */
export async function foldConstants(model: Model, except: ReadonlySet<string> = new Set()): Promise<Model> {
  const { graph } = model;
  const constant = new Set([...graph.initializers.keys()].filter((name) => !except.has(name)));
  const folded: Node[] = [];
  for (const node of graph.nodes) {
    if (RANDOM.has(node.op) || !reads(node).every((name) => constant.has(name))) continue;
    folded.push(node);
    for (const output of node.outputs) if (output !== '') constant.add(output);
  }
  if (folded.length === 0) return model;
  const results = await runOnce({ ...model, graph: constantPart(graph, folded) }, {});
  const done = new Set<Node>();
  const initializers = new Map(graph.initializers);
  for (const node of folded) {
    const values = node.outputs.filter((o) => o !== '').map((o) => [o, results[o]] as const);
    if (values.some(([, v]) => v === undefined || v.bytes.byteLength > KEEP_BYTES)) continue;
    for (const [name, value] of values) initializers.set(name, value!);
    done.add(node);
  }
  const rest = graph.nodes.filter((n) => !done.has(n));
  return Object.freeze({ ...model, graph: prune(freezeGraph({ ...graph, initializers, nodes: rest })) });
}

function constantPart(graph: Graph, nodes: readonly Node[]): Graph {
  const outputs = nodes.flatMap((n) => n.outputs.filter((o) => o !== '').map((name) => ({ name })));
  return prune(freezeGraph({ ...graph, inputs: [], outputs, nodes }));
}
