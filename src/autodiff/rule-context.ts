import { WinnowError } from '../errors.ts';
import type { GraphBuilder } from '../onnx/builder.ts';
import { type DataType, isFloat } from '../onnx/dtypes.ts';
import { constantNumbers, type Graph, type Node, nodeLabel, opKey, producers } from '../onnx/graph.ts';
import type { Probed, Shapes } from '../onnx/probe.ts';
import type { Inverses } from '../onnx/rewrites/pack.ts';
import { numbers, type Tensor } from '../onnx/tensor.ts';
import type { RuleContext } from './rule.ts';

/** What all nodes of one backward pass share. */
export interface Shared {
  readonly g: GraphBuilder;
  readonly forward: Graph;
  readonly shapes: Shapes;
  readonly memo: Map<string, string>;
  readonly readers: ReadonlyMap<string, readonly Node[]>;
  readonly infinite: (value: string) => boolean;
  readonly inverses: Inverses;
}

/** Returns what the probing batch shows of a value. @throws WinnowError `invalid_graph` where it was not probed. */
export function probedOf(shapes: Shapes, value: string, node: Node): Probed {
  const found = shapes.get(value);
  if (found) return found;
  throw new WinnowError('invalid_graph', {
    where: `node ${nodeLabel(node)}`,
    expected: `a probed shape of ${value}`,
    got: 'none',
  });
}

/** Bytes of the largest constant that is searched for −∞; larger ones are weights, not masks. */
const MASK_BYTES = 1 << 16;

const holdsInfinity = (t: Tensor | undefined): boolean =>
  t !== undefined &&
  isFloat(t.dtype) &&
  t.bytes.byteLength <= MASK_BYTES &&
  numbers(t).includes(Number.NEGATIVE_INFINITY);

/** Returns a test of whether a value may hold −∞: whether any constant it depends on does. */
export function infinityTest(graph: Graph): (value: string) => boolean {
  const made = producers(graph);
  const known = new Map<string, boolean>();
  const test = (start: string): boolean => {
    const seen = new Set<string>();
    const stack = [start];
    while (stack.length > 0) {
      const value = stack.pop()!;
      if (seen.has(value)) continue;
      seen.add(value);
      const node = made.get(value);
      const filled = node?.attrs.value;
      const constant = filled?.kind === 'tensor' ? filled.value : graph.initializers.get(value);
      if (known.get(value) === true || holdsInfinity(constant)) return true;
      // The output of a softmax is finite or NaN.
      if (node && node.op !== 'Softmax') stack.push(...node.inputs.filter((i) => i !== ''));
    }
    return false;
  };
  return (value) => {
    if (!known.has(value)) known.set(value, test(value));
    return known.get(value)!;
  };
}

/** The part of the context about values: types, dims and constants known before the run, shapes as values of the graph. */
function valuesOf({ g, shapes, memo, forward }: Shared, node: Node) {
  const once = (key: string, make: () => string): string => {
    const found = memo.get(key) ?? make();
    memo.set(key, found);
    return found;
  };
  const dims = (value: string): readonly number[] => probedOf(shapes, value, node).dims;
  const dtype = (value: string): DataType => probedOf(shapes, value, node).dtype;
  const shapeOf = (value: string): string => once(`shape ${value}`, () => g.shape(value));
  const sizeOf = (value: string, axis: number): string => {
    const end = axis === -1 ? Number.MAX_SAFE_INTEGER : axis + 1;
    return once(`size ${axis} ${value}`, () => g.slice(shapeOf(value), [axis], [end], [0]));
  };
  const constant = (value: string | undefined): readonly number[] | undefined => constantNumbers(forward, value);
  return { once, dims, rank: (value: string) => dims(value).length, dtype, shapeOf, sizeOf, constant };
}

/** Makes the context of one node. @param gradients of its outputs. @param wanted whether an input leads to a weight. */
export function contextOf(
  shared: Shared,
  node: Node,
  gradients: readonly (string | undefined)[],
  wanted: (value: string) => boolean,
): RuleContext {
  const { g, forward } = shared;
  const values = valuesOf(shared, node);
  const { dims, dtype } = values;
  return {
    g,
    node,
    forward,
    ...values,
    readers: (value) => shared.readers.get(value) ?? [],
    gradient: (i) => gradients[i],
    get dy() {
      return gradients[0]!;
    },
    needs: (i) => node.inputs[i] !== undefined && wanted(node.inputs[i]!),
    num: (value, like) => g.scalar(value, dtype(like)),
    mayBeInfinite: shared.infinite,
    inverse: (indices) => shared.inverses.get(indices),
    reduceTo: (gradient, from, to) => reduceTo(g, gradient, dims(from), dims(to)),
    matmul: (a, b, options) => g.matmul(a, b, { ...options, dtype: dtype(node.outputs[0]!) }),
    unsupported: (reason) =>
      new WinnowError('unsupported_op', { op: `${opKey(node)} with ${reason}`, node: nodeLabel(node) }),
  };
}

/** Sums a gradient over the axes along which a value of dims `to` was broadcast to `from`. */
function reduceTo(g: GraphBuilder, gradient: string, from: readonly number[], to: readonly number[]): string {
  const missing = from.length - to.length;
  const axes = from.flatMap((size, axis) => (axis < missing || (to[axis - missing] === 1 && size !== 1) ? [axis] : []));
  if (axes.length === 0) return gradient;
  // One axis after the other, the inner one first: such a sum runs on all threads and rounds less than one long column. Axes of size 1 go before, because the
  // engine sums an inner axis slowly where the outer one is 1.
  if (axes.every((axis) => axis < missing)) {
    const single = axes.filter((axis) => from[axis] === 1);
    const squeezed = single.length > 0 ? g.squeeze(gradient, single) : gradient;
    const others = Array.from({ length: axes.length - single.length }, (_, axis) => axis);
    return others.toReversed().reduce((sum, axis) => g.reduceSum(sum, [axis], false), squeezed);
  }
  const summed = g.reduceSum(gradient, axes, true);
  return missing === 0
    ? summed
    : g.squeeze(
        summed,
        Array.from({ length: missing }, (_, i) => i),
      );
}
