import { attrNumber, attrNumbers, constantNumbers, type Graph, type Node } from '../graph.ts';
import type { Probed, Shapes } from '../probe.ts';
import { frontAxis, sizeOf } from '../tensor.ts';

/*
 * Which part of its inputs a node needs where only one position of an axis of its output is read. Op → rule; ops without one need all.
 */

/** One position of an axis: all that is read of a value. The axis counts from the front; a negative index counts from the end. */
export interface Cut {
  readonly axis: number;
  readonly index: number;
}

/** By input: the part needed, or undefined for all of it. */
export type InputCuts = readonly (Cut | undefined)[];

interface CutContext {
  readonly node: Node;
  readonly graph: Graph;
  readonly cut: Cut;
  dims(value: string): readonly number[];
  /** Numbers of a small whole-number tensor in the probing batch. */
  value(name: string): readonly number[] | undefined;
}

type CutRule = (c: CutContext) => InputCuts | undefined;

const output = ({ node, dims }: CutContext): readonly number[] => dims(node.outputs[0]!);

/** The same axis of an operand that is broadcast (both counted from the last), or undefined where it has one position for all. */
function broadcastCut(c: CutContext, value: string): Cut | undefined {
  if (value === '') return undefined;
  const own = c.dims(value);
  const axis = c.cut.axis - (output(c).length - own.length);
  return axis >= 0 && own[axis] !== 1 ? { ...c.cut, axis } : undefined;
}

const elementwise: CutRule = (c) => c.node.inputs.map((value) => broadcastCut(c, value));

/** The node's own `axis`. */
const ownAxis = (c: CutContext, otherwise: number): number =>
  frontAxis(attrNumber(c.node, 'axis', otherwise), output(c).length);

/** Positions are mixed from `axis` on; scale and bias lie along those. */
const layerNormalization: CutRule = (c) => (c.cut.axis < ownAxis(c, -1) ? [c.cut] : undefined);

/** Nodes that work along one axis: every other may be cut. */
const besideAxis =
  (otherwise: number): CutRule =>
  (c) =>
    ownAxis(c, otherwise) === c.cut.axis ? undefined : [c.cut];

/** Rows of a product need the same rows of the left side; leading axes those of both. */
const product: CutRule = (c) => {
  const [a, b] = c.node.inputs as [string, string];
  const rank = output(c).length;
  if (Math.min(c.dims(a).length, c.dims(b).length) < 2 || c.cut.axis === rank - 1) return undefined;
  return c.cut.axis === rank - 2
    ? [{ ...c.cut, axis: c.dims(a).length - 2 }]
    : [broadcastCut(c, a), broadcastCut(c, b)];
};

const transpose: CutRule = (c) => {
  const rank = output(c).length;
  const perm = attrNumbers(c.node, 'perm') ?? Array.from({ length: rank }, (_, i) => rank - 1 - i);
  return [{ ...c.cut, axis: perm[c.cut.axis]! }];
};

/** The axis of the input that has as many elements before it, and as many positions. */
const reshape: CutRule = (c) => {
  const [own, made] = [c.dims(c.node.inputs[0]!), output(c)];
  const before = sizeOf(made.slice(0, c.cut.axis));
  const axis = own.findIndex((d, i) => d === made[c.cut.axis] && d !== 1 && sizeOf(own.slice(0, i)) === before);
  // Where a 0 of the new shape copies the very axis that is cut, or means an empty one, the shape would no longer be right.
  const shape = c.value(c.node.inputs[1]!);
  const misread = attrNumber(c.node, 'allowzero', 0) ? shape?.includes(0) : axis !== c.cut.axis && shape?.[axis] === 0;
  return axis < 0 || shape === undefined || misread ? undefined : [{ ...c.cut, axis }];
};

/** Axes that a node is told by its second input. */
const axesInput = (c: CutContext, rank: number): readonly number[] | undefined =>
  constantNumbers(c.graph, c.node.inputs[1])?.map((a) => frontAxis(a, rank));

/** The axes left where `axes` are not there. */
const withoutAxes = (rank: number, axes: readonly number[]): readonly number[] =>
  Array.from({ length: rank }, (_, i) => i).filter((i) => !axes.includes(i));

const reduce: CutRule = (c) => {
  const rank = c.dims(c.node.inputs[0]!).length;
  const axes = axesInput(c, rank);
  if (axes === undefined) return undefined;
  const axis = attrNumber(c.node, 'keepdims', 1) ? c.cut.axis : withoutAxes(rank, axes)[c.cut.axis]!;
  return axes.includes(axis) ? undefined : [{ ...c.cut, axis }];
};

/** Parts along another axis. */
const concat: CutRule = (c) => (ownAxis(c, 0) === c.cut.axis ? undefined : c.node.inputs.map(() => c.cut));

/** Axes of size 1 come or go: the cut axis is the one with as many others before it. */
const resized: CutRule = (c) => {
  const [own, made] = [c.dims(c.node.inputs[0]!), output(c)];
  const longer = Math.max(own.length, made.length);
  const axes = axesInput(c, longer);
  if (axes === undefined) return undefined;
  const others = withoutAxes(longer, axes);
  const axis = made.length > own.length ? others.indexOf(c.cut.axis) : others[c.cut.axis]!;
  return axis < 0 ? undefined : [{ ...c.cut, axis }];
};

const slice: CutRule = (c) => {
  const axes = constantNumbers(c.graph, c.node.inputs[3]);
  const touched = axes?.map((a) => frontAxis(a, output(c).length));
  return touched === undefined || touched.includes(c.cut.axis) ? undefined : [c.cut];
};

const gatherElements: CutRule = (c) => {
  const [x, indices] = c.node.inputs as [string, string];
  const same = c.dims(x)[c.cut.axis] === c.dims(indices)[c.cut.axis];
  return same && ownAxis(c, 0) !== c.cut.axis ? [c.cut, c.cut] : undefined;
};

const ELEMENTWISE = `
  Abs Add And Cast Clip Div Elu Equal Erf Exp Gelu Greater GreaterOrEqual HardSigmoid Identity IsInf IsNaN LeakyRelu Less
  LessOrEqual Log Max Min Mul Neg Not Or Pow Reciprocal Relu Sigmoid Sign Softplus Sqrt Sub Tanh Where
`
  .trim()
  .split(/\s+/);

const RULES: ReadonlyMap<string, CutRule> = new Map<string, CutRule>([
  ...ELEMENTWISE.map((op) => [op, elementwise] as const),
  ...['ReduceMean', 'ReduceSum', 'ReduceMax', 'ReduceSumSquare'].map((op) => [op, reduce] as const),
  ['LayerNormalization', layerNormalization],
  ['Softmax', besideAxis(-1)],
  ['LogSoftmax', besideAxis(-1)],
  ['MatMul', product],
  ['Transpose', transpose],
  ['Reshape', reshape],
  ['Concat', concat],
  ['Slice', slice],
  ['Split', besideAxis(0)],
  ['Squeeze', resized],
  ['Unsqueeze', resized],
  ['GatherElements', gatherElements],
]);

/** What a node needs of its inputs for one position of its outputs; undefined where it needs all, or is not known. */
export function inputCuts(graph: Graph, shapes: Shapes, node: Node, cut: Cut): InputCuts | undefined {
  const rule = node.domain === '' ? RULES.get(node.op) : undefined;
  const known = [...node.inputs, ...node.outputs].every((name) => name === '' || shapes.has(name));
  if (!rule || !known) return undefined;
  const at = (name: string): Probed => shapes.get(name)!;
  return rule({ node, graph, cut, dims: (name) => at(name).dims, value: (name) => at(name).value });
}
