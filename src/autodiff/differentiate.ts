import { WinnowError } from '../errors.ts';
import { GraphBuilder } from '../onnx/builder.ts';
import { isFloat } from '../onnx/dtypes.ts';
import { consumers, freezeNode, type Graph, type Node, nodeLabel, opKey, subgraphs } from '../onnx/graph.ts';
import { lateOrder, upstream } from '../onnx/order.ts';
import type { Shapes } from '../onnx/probe.ts';
import type { Inverses } from '../onnx/rewrites/pack.ts';
import { sizeOf, tensor } from '../onnx/tensor.ts';
import { contextOf, infinityTest, probedOf, type Shared } from './rule-context.ts';
import { RULES } from './rules/index.ts';

interface DifferentiateOptions {
  /** The value to differentiate: a scalar loss, or any value if `upstream` is given. */
  readonly of: string;
  /** Gradient of `of`, in its shape (for a vector–Jacobian product); 1 by default. */
  readonly upstream?: string;
  /** Initializers or inputs whose gradients are wanted. */
  readonly wrt: Iterable<string>;
  /** Of every value of the graph, from `probeShapes`. */
  readonly shapes: Shapes;
  /** Look-ups that another look-up undoes, by their indices. */
  readonly inverses?: Inverses;
}

interface Differentiated {
  /** The forward graph followed by the backward pass, in topological order; outputs are those of the forward graph. */
  readonly graph: Graph;
  /**
   * Maps each weight to the value that holds its gradient, of the weight's shape and type; weights the loss does not depend on are absent.
   * Make them outputs in this order (that of `wrt`): with weights in the order of the forward pass, as `prepare` finds them, the engine
   * frees memory early.
   */
  readonly gradients: ReadonlyMap<string, string>;
}

/**
 * Appends the backward pass to a graph (reverse mode): walks the nodes from last to first, takes the gradients of a node's inputs from its
 * rule, and sums the gradients of a value with several readers. Only values on a float path from `wrt` to `of` get a gradient.
 * @param graph canonical (`prepare`), in topological order.
 * @throws WinnowError `unsupported_op` naming op and node; `invalid_graph` if `of` is not a scalar and has no `upstream`.
 */
export function differentiate(graph: Graph, options: DifferentiateOptions): Differentiated {
  const forward = withStatistics(graph);
  const wanted = activeValues(forward, options);
  const g = GraphBuilder.from(forward);
  const shared: Shared = {
    g,
    forward,
    shapes: options.shapes,
    memo: new Map(),
    readers: consumers(forward),
    infinite: infinityTest(forward),
    inverses: options.inverses ?? new Map(),
  };
  const arrived = new Map<string, string[]>([[options.of, [options.upstream ?? seed(g, options)]]]);
  const total = (value: string): string | undefined => {
    const parts = arrived.get(value);
    if (parts === undefined || !wanted.has(value)) return undefined;
    if (parts.length > 1) arrived.set(value, [parts.length === 2 ? g.add(parts[0]!, parts[1]!) : g.op('Sum', parts)]);
    return arrived.get(value)![0];
  };
  for (const node of forward.nodes.toReversed()) {
    const gradients = node.outputs.map(total);
    if (!gradients.some((x) => x !== undefined) || !node.inputs.some((i) => wanted.has(i))) continue;
    for (const [i, dx] of applyRule(shared, node, gradients, wanted).entries()) {
      const input = node.inputs[i]!;
      if (dx === undefined || !wanted.has(input)) continue;
      const parts = arrived.get(input);
      if (parts) parts.push(dx);
      else arrived.set(input, [dx]);
    }
  }
  const gradients = new Map<string, string>();
  for (const weight of options.wrt) {
    const gradient = total(weight);
    if (gradient !== undefined) gradients.set(weight, gradient);
  }
  return { graph: lateOrder(g.build()), gradients };
}

function applyRule(
  shared: Shared,
  node: Node,
  gradients: readonly (string | undefined)[],
  wanted: ReadonlySet<string>,
): readonly (string | undefined)[] {
  const rule = RULES[opKey(node)];
  if (rule === undefined || subgraphs(node).length > 0)
    throw new WinnowError('unsupported_op', { op: opKey(node), node: nodeLabel(node) });
  // Most rules read `dy`, the gradient of the first output; those of ops with several outputs read each by `gradient`.
  if (gradients[0] === undefined && !SEVERAL_OUTPUTS.has(node.op))
    throw new WinnowError('unsupported_op', {
      op: `${opKey(node)} (read by its later outputs)`,
      node: nodeLabel(node),
    });
  return rule(contextOf(shared, node, gradients, (value) => wanted.has(value)));
}

const SEVERAL_OUTPUTS: ReadonlySet<string> = new Set(['Split']);

/** Returns the values that get a gradient: those on a float path from `wrt` to `of`. */
function activeValues(graph: Graph, { of, wrt, shapes }: DifferentiateOptions): ReadonlySet<string> {
  const active = new Set(wrt);
  for (const node of graph.nodes) {
    if (!node.inputs.some((i) => active.has(i))) continue;
    for (const output of differentiable(node))
      if (output !== '' && isFloat(probedOf(shapes, output, node).dtype)) active.add(output);
  }
  const needed = upstream(graph, [of]);
  return new Set([...active].filter((value) => needed.has(value)));
}

/** Outputs that may carry a gradient: mean and deviation of a normalization are read by its own rule only. */
const differentiable = (node: Node): readonly string[] =>
  node.op === 'LayerNormalization' ? node.outputs.slice(0, 1) : node.outputs;

function seed(g: GraphBuilder, { of, shapes }: DifferentiateOptions): string {
  const probed = shapes.get(of);
  if (probed === undefined || sizeOf(probed.dims) !== 1 || !isFloat(probed.dtype))
    throw new WinnowError('invalid_graph', {
      where: `value ${of}`,
      expected: 'a scalar loss or an upstream gradient',
      got: probed ? `${probed.dtype}[${probed.dims}]` : 'no such value',
    });
  return g.constant(tensor(probed.dtype, probed.dims, [1]));
}

/** Names mean and inverse deviation of every LayerNormalization as outputs, which the backward pass reads. */
function withStatistics(graph: Graph): Graph {
  const g = GraphBuilder.from({ ...graph, nodes: [] });
  for (const node of graph.nodes) for (const output of node.outputs) g.reserve(output);
  for (const node of graph.nodes) {
    if (node.op !== 'LayerNormalization') g.append(node);
    else {
      const [y, mean, inverse] = node.outputs;
      const outputs = [y!, mean || g.unique(`${y}_mean`), inverse || g.unique(`${y}_inverse`)];
      g.append(freezeNode({ ...node, outputs }));
    }
  }
  return g.build();
}
