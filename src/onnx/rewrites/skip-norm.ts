import { MICROSOFT } from '../builder.ts';
import { attrNumber, freezeGraph, freezeNode, type Graph, type Model, type Node } from '../graph.ts';
import { topologicalSort } from '../order.ts';
import { probeShapes, type Shapes } from '../probe.ts';
import { Matcher } from './matcher.ts';

/** A sum of two states and the normalization that reads it. */
interface Pair {
  readonly add: Node;
  readonly norm: Node;
}

function pairAt(m: Matcher, shapes: Shapes, norm: Node): Pair | undefined {
  const [sum, gamma] = norm.inputs;
  const add = m.made(sum, 'Add');
  const dims = shapes.get(sum ?? '')?.dims;
  const axis = attrNumber(norm, 'axis', -1);
  const isLast = dims?.length === 3 && (axis === -1 || axis === 2) && norm.outputs.length === 1;
  if (!add || !isLast || m.dims(gamma)?.length !== 1) return undefined;
  const isWhole = add.inputs.every((input) => shapes.get(input)?.dims.join() === dims.join());
  return isWhole ? { add, norm } : undefined;
}

function fused({ add, norm }: Pair, isReadElsewhere: boolean): Node {
  const [x, skip] = add.inputs as [string, string];
  const [, gamma, beta = ''] = norm.inputs as [string, string, string?];
  const own = norm.outputs[0]!;
  return freezeNode({
    op: 'SkipLayerNormalization',
    domain: MICROSOFT,
    name: norm.name,
    inputs: beta === '' ? [x, skip, gamma] : [x, skip, gamma, beta],
    // The fourth output is the sum.
    outputs: isReadElsewhere ? [own, '', '', add.outputs[0]!] : [own],
    attrs: { epsilon: { kind: 'float', value: attrNumber(norm, 'epsilon', 1e-5) } },
  });
}

/**
 * Fuses the sum of a layer's input and output with the normalization behind it into `com.microsoft.SkipLayerNormalization`: one kernel on a GPU. The
 * sum stays a value where others read it. For serving only.
 * @param model canonical (`prepare`).
 */
export async function fuseSkipNorm(model: Model): Promise<Model> {
  const { graph } = model;
  const shapes = await probeShapes(model);
  const m = new Matcher(graph, shapes);
  const pairs = new Map<Node, Pair>();
  for (const norm of graph.nodes.filter(({ op, domain }) => op === 'LayerNormalization' && domain === '')) {
    const pair = pairAt(m, shapes, norm);
    // Of several normalizations of one sum, the first makes it.
    if (pair && !pairs.has(pair.add)) pairs.set(pair.add, pair);
  }
  if (pairs.size === 0) return model;
  const outputs = new Set(graph.outputs.map(({ name }) => name));
  const isReadElsewhere = ({ add, norm }: Pair): boolean => {
    const [sum] = add.outputs as [string];
    return outputs.has(sum) || m.readers(sum).some((node) => node !== norm);
  };
  const replaced = new Map([...pairs.values()].map((pair) => [pair.norm, fused(pair, isReadElsewhere(pair))]));
  const nodes = graph.nodes.flatMap((node) => (pairs.has(node) ? [] : (replaced.get(node) ?? node)));
  const opsets = { ...model.opsets, [MICROSOFT]: model.opsets[MICROSOFT] ?? 1 };
  return Object.freeze({ ...model, opsets, graph: sorted(graph, nodes) });
}

const sorted = (graph: Graph, nodes: readonly Node[]): Graph => topologicalSort(freezeGraph({ ...graph, nodes }));
