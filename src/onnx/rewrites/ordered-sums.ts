import { tokenSum } from '../architectures/pooling.ts';
import { GraphBuilder } from '../builder.ts';
import { attrNumber, freezeNode, type Graph, type Node } from '../graph.ts';
import { PROBE_LENGTH, type Shapes } from '../probe.ts';
import { numbers } from '../tensor.ts';

/** Returns the sizes and axes of a sum of float values with constant axes; undefined for other nodes. */
function floatSum({ op, domain, inputs }: Node, graph: Graph, shapes: Shapes) {
  const [x = '', axes = ''] = inputs;
  const from = shapes.get(x);
  const over = graph.initializers.get(axes);
  if (op !== 'ReduceSum' || domain !== '' || from?.dtype !== 'float32' || over === undefined) return undefined;
  return { dims: from.dims, axes: numbers(over).join() };
}

const keepsAxis = (node: Node): boolean => attrNumber(node, 'keepdims', 1) === 1;

/** Whether a node sums float states [batch, sequence, width] over the tokens. */
function sumsTokens(node: Node, graph: Graph, shapes: Shapes): boolean {
  const sum = floatSum(node, graph, shapes);
  return sum?.dims.length === 3 && sum.dims[1] === PROBE_LENGTH && sum.axes === '1';
}

/** Whether a node sums float attention [batch, heads, tokens, tokens] over the keys and keeps the axis, as texts read apart do. */
function sumsKeys(node: Node, graph: Graph, shapes: Shapes): boolean {
  const sum = floatSum(node, graph, shapes);
  const isAttention = sum?.dims.length === 4 && sum.dims[2] === sum.dims[3];
  return isAttention && ['-1', '3'].includes(sum.axes) && keepsAxis(node);
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

/** Appends the sum over the tokens, in their order. */
function appendTokenSum(g: GraphBuilder, node: Node): void {
  const sum = tokenSum(g, node.inputs[0]!);
  const common = { domain: '', name: node.name, outputs: node.outputs, attrs: {} };
  if (keepsAxis(node)) g.append(freezeNode({ ...common, op: 'Unsqueeze', inputs: [sum, g.ints([1])] }));
  else g.append(freezeNode({ ...common, op: 'Identity', inputs: [sum] }));
}

/**
 * Makes sums over the tokens of a row have one order, whatever the length of the batch (see `tokenSum`): what a head reads of an int8 model is
 * then the same to the last bit alone and among others. So do sums over the keys of attention.
 * @param shapes of the values, from a probe.
 */
export function orderSums(graph: Graph, shapes: Shapes): Graph {
  const appendFor = (node: Node) => {
    if (sumsTokens(node, graph, shapes)) return appendTokenSum;
    return sumsKeys(node, graph, shapes) ? appendKeySum : undefined;
  };
  const appends = new Map(graph.nodes.map((node) => [node, appendFor(node)]));
  if (![...appends.values()].some(Boolean)) return graph;
  const g = GraphBuilder.rewriting(graph);
  for (const [node, append] of appends) {
    if (append) append(g, node);
    else g.append(node);
  }
  return g.build();
}
