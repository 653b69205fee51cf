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

/** Whether a node sums float attention [batch, heads, tokens, tokens] over the keys and keeps the axis, as texts read apart do. */
function sumsKeys(node: Node, graph: Graph, shapes: Shapes): boolean {
  if (node.op !== 'ReduceSum' || node.domain !== '' || attrNumber(node, 'keepdims', 1) !== 1) return false;
  const [x = '', axes = ''] = node.inputs;
  const from = shapes.get(x);
  const over = graph.initializers.get(axes);
  const isAttention = from?.dtype === 'float32' && from.dims.length === 4 && from.dims[2] === from.dims[3];
  return isAttention && over !== undefined && ['-1', '3'].includes(numbers(over).join());
}

/** Columns of ones that keys are multiplied by: a product with one column takes another path in the engine, whose order depends on the length. */
const ONES = 2;

/** Appends the sum over the last axis as a product with ones, which adds the keys in their order; zeros of padding change nothing. */
function appendKeySum(g: GraphBuilder, { name, inputs, outputs }: Node): void {
  const x = inputs[0]!;
  const keys = g.slice(g.shape(x), [-1], [Number.MAX_SAFE_INTEGER], [0]);
  const ones = g.op('Expand', [g.scalar(1), g.concat([keys, g.ints([ONES])], 0)]);
  const sums = g.op('MatMul', [x, ones]);
  g.append(
    freezeNode({
      op: 'Slice',
      domain: '',
      name,
      inputs: [sums, g.ints([0]), g.ints([1]), g.ints([-1])],
      outputs,
      attrs: {},
    }),
  );
}

/**
 * Makes sums over the tokens of a row have one order, whatever the length of the batch (see `tokenSum`): what a head reads of an int8 model is
 * then the same to the last bit alone and among others. So do sums over the keys of attention.
 * @param shapes of the values, from a probe.
 */
export function orderSums(graph: Graph, shapes: Shapes): Graph {
  if (!graph.nodes.some((node) => sumsTokens(node, graph, shapes) || sumsKeys(node, graph, shapes))) return graph;
  const g = GraphBuilder.rewriting(graph);
  for (const node of graph.nodes) {
    if (sumsKeys(node, graph, shapes)) {
      appendKeySum(g, node);
      continue;
    }
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
