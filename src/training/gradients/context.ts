import { WinnowError } from '../../errors.ts';
import type { GraphBuilder } from '../../onnx/builder.ts';
import { type DataType, isFloat } from '../../onnx/dtypes.ts';
import { type Graph, type Node, nodeLabel, opKey, producers } from '../../onnx/graph.ts';
import type { Probed, Shapes } from '../../onnx/probe.ts';
import { numbers } from '../../onnx/tensor.ts';
import type { RuleContext } from './rule.ts';

/** What all nodes of one backward pass share. */
export interface Shared {
  readonly g: GraphBuilder;
  readonly forward: Graph;
  readonly shapes: Shapes;
  readonly memo: Map<string, string>;
  readonly infinite: (value: string) => boolean;
}

export function probedOf(shapes: Shapes, value: string, node: Node): Probed {
  const found = shapes.get(value);
  if (found) return found;
  throw new WinnowError('invalid_graph', {
    where: `node ${nodeLabel(node)}`,
    expected: `a probed shape of ${value}`,
    got: 'none',
  });
}

/** A test whether −∞ can be in a value by way of a constant: does any constant it depends on hold one? */
export function infinityTest(graph: Graph): (value: string) => boolean {
  const made = producers(graph);
  const known = new Map<string, boolean>();
  const holds = (value: string): boolean => {
    const constant = graph.initializers.get(value);
    return (
      constant !== undefined &&
      isFloat(constant.dtype) &&
      constant.bytes.byteLength <= 1 << 16 &&
      numbers(constant).includes(Number.NEGATIVE_INFINITY)
    );
  };
  const test = (start: string): boolean => {
    const seen = new Set<string>();
    const stack = [start];
    while (stack.length > 0) {
      const value = stack.pop()!;
      if (seen.has(value)) continue;
      seen.add(value);
      if (known.get(value) === true || holds(value)) return true;
      const node = made.get(value);
      const filled = node?.attrs.value;
      if (
        filled?.kind === 'tensor' &&
        isFloat(filled.value.dtype) &&
        numbers(filled.value).includes(Number.NEGATIVE_INFINITY)
      )
        return true;
      // A softmax on the way has already turned what came before it into numbers or NaN.
      if (node && node.op !== 'Softmax') stack.push(...node.inputs.filter((i) => i !== ''));
    }
    return false;
  };
  return (value) => {
    if (!known.has(value)) known.set(value, test(value));
    return known.get(value)!;
  };
}

/** The context of one node. `gradients` are those of its outputs, `wanted` says which inputs lead to a weight. */
export function contextOf(
  shared: Shared,
  node: Node,
  gradients: readonly (string | undefined)[],
  wanted: (value: string) => boolean,
): RuleContext {
  const { g, shapes, memo, forward } = shared;
  const once = (key: string, make: () => string): string => {
    const found = memo.get(key) ?? make();
    memo.set(key, found);
    return found;
  };
  const dims = (value: string): readonly number[] => probedOf(shapes, value, node).dims;
  const dtype = (value: string): DataType => probedOf(shapes, value, node).dtype;
  const shapeOf = (value: string): string => once(`shape ${value}`, () => g.shape(value));
  return {
    g,
    node,
    forward,
    gradient: (i) => gradients[i],
    get dy() {
      return gradients[0]!;
    },
    needs: (i) => node.inputs[i] !== undefined && wanted(node.inputs[i]!),
    dims,
    rank: (value) => dims(value).length,
    dtype,
    num: (value, like) => g.scalar(value, dtype(like)),
    constant: (value) => {
      const found = value === undefined ? undefined : forward.initializers.get(value);
      return found && numbers(found);
    },
    mayBeInfinite: shared.infinite,
    shapeOf,
    sizeOf: (value, axis) =>
      once(`size ${axis} ${value}`, () =>
        g.slice(shapeOf(value), [axis], [axis === -1 ? Number.MAX_SAFE_INTEGER : axis + 1], [0]),
      ),
    reduceTo: (gradient, from, to) => reduceTo(g, gradient, dims(from), dims(to)),
    once,
    matmul: (a, b, options) => g.matmul(a, b, { ...options, dtype: dtype(node.outputs[0]!) }),
    unsupported: (reason) =>
      new WinnowError('unsupported_op', { op: `${opKey(node)} with ${reason}`, node: nodeLabel(node) }),
  };
}

/** Sums a gradient over the axes along which a value of dims `to` was broadcast to `from`. */
export function reduceTo(g: GraphBuilder, gradient: string, from: readonly number[], to: readonly number[]): string {
  const missing = from.length - to.length;
  const axes = from.flatMap((size, axis) => (axis < missing || (to[axis - missing] === 1 && size !== 1) ? [axis] : []));
  if (axes.length === 0) return gradient;
  if (axes.every((axis) => axis < missing)) return g.reduceSum(gradient, axes, false);
  const summed = g.reduceSum(gradient, axes, true);
  return missing === 0
    ? summed
    : g.squeeze(
        summed,
        Array.from({ length: missing }, (_, i) => i),
      );
}
