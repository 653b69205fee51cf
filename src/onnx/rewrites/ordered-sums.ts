import { tokenSum } from '../architectures/pooling.ts';
import { GraphBuilder } from '../builder.ts';
import { attrNumber, freezeNode, type Graph, type Node } from '../graph.ts';
import { PROBE_LENGTH, type Shapes } from '../probe.ts';
import { numbers } from '../tensor.ts';

/** Whether a node sums float states [batch, sequence, width] over the tokens. */
function sumsTokens({ op, domain, inputs }: Node, graph: Graph, shapes: Shapes): boolean {
  if (op !== 'ReduceSum' || domain !== '') return false;
  const [x = '', axes = ''] = inputs;
  const from = shapes.get(x);
  const over = graph.initializers.get(axes);
  const isStates = from?.dtype === 'float32' && from.dims.length === 3 && from.dims[1] === PROBE_LENGTH;
  return isStates && over !== undefined && numbers(over).join() === '1';
}

/**
 * Makes sums over the tokens of a row have one order, whatever the length of the batch (see `tokenSum`): what a head reads of an int8 model is
 * then the same to the last bit alone and among others.
 * @param shapes of the values, from a probe.
 */
export function orderSums(graph: Graph, shapes: Shapes): Graph {
  if (!graph.nodes.some((node) => sumsTokens(node, graph, shapes))) return graph;
  const g = GraphBuilder.rewriting(graph);
  for (const node of graph.nodes) {
    if (!sumsTokens(node, graph, shapes)) {
      g.append(node);
      continue;
    }
    const sum = tokenSum(g, node.inputs[0]!);
    const keeps = attrNumber(node, 'keepdims', 1) === 1;
    const common = { domain: '', name: node.name, outputs: node.outputs, attrs: {} };
    if (keeps) g.append(freezeNode({ ...common, op: 'Unsqueeze', inputs: [sum, g.ints([1])] }));
    else g.append(freezeNode({ ...common, op: 'Identity', inputs: [sum] }));
  }
  return g.build();
}
