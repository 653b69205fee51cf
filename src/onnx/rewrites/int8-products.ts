import { GraphBuilder, MICROSOFT } from '../builder.ts';
import type { Graph, Node } from '../graph.ts';
import { prune } from '../order.ts';
import { float32, float32View } from '../tensor.ts';
import type { Matcher } from './matcher.ts';

/** An integer product with float output, x·W by steps of x and of the columns of W, plus a bias. */
export interface IntegerProduct {
  readonly node: Node;
  /** One per column. */
  readonly scales: Float32Array;
  /** One per column; zeros where the node has none. */
  readonly bias: Float32Array;
}

const [SCALES, BIAS] = [3, 6] as const;

/** Returns the integer product with a constant matrix [in, out] that makes `value`, if one does. */
export function productOf(m: Matcher, value: string | undefined): IntegerProduct | undefined {
  const node = m.made(value, 'MatMulIntegerToFloat', MICROSOFT);
  const columns = m.graph.initializers.get(node?.inputs[1] ?? '')?.dims[1];
  const scales = m.graph.initializers.get(node?.inputs[SCALES] ?? '');
  const bias = m.graph.initializers.get(node?.inputs[BIAS] ?? '');
  const computed = bias === undefined && (node?.inputs[BIAS] ?? '') !== '';
  if (node === undefined || columns === undefined || scales?.dtype !== 'float32' || computed) return undefined;
  const spread = float32View(scales);
  return {
    node,
    scales: spread.length === 1 ? new Float32Array(columns).fill(spread[0]!) : spread,
    bias: bias === undefined ? new Float32Array(columns) : float32View(bias),
  };
}

/** Appends the product with other scales and bias; its output is `output`. */
export function appendProduct(g: GraphBuilder, { node, scales, bias }: IntegerProduct, output: string): void {
  const inputs = Array.from({ length: BIAS + 1 }, (_, i) => node.inputs[i] ?? '');
  inputs[SCALES] = g.constant(float32([scales.length], scales), 'scales');
  inputs[BIAS] = g.constant(float32([bias.length], bias), 'bias');
  g.append({ ...node, inputs, outputs: [output] });
}

/** Returns the product whose column c is multiplied by `factors[c]`: exact but for rounding, since both parts of a column are scaled. */
export const rescaled = ({ node, scales, bias }: IntegerProduct, factors: Float32Array): IntegerProduct => ({
  node,
  scales: scales.map((x, c) => x * factors[c]!),
  bias: bias.map((x, c) => x * factors[c]!),
});

/** What is appended in the place of a node. */
export type Replacements = Map<Node, (g: GraphBuilder) => void>;

/** Replaces nodes. What no output needs any more is removed. */
export function replaceNodes(graph: Graph, at: Replacements): Graph {
  if (at.size === 0) return graph;
  const g = GraphBuilder.rewriting(graph);
  for (const node of graph.nodes) {
    const append = at.get(node);
    if (append) append(g);
    else g.append(node);
  }
  return prune(g.build());
}
