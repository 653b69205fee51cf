import { attrNumber, attrNumbers, constantNumbers, type Graph, type Node } from '../graph.ts';
import type { Probed, Shapes } from '../probe.ts';
import { frontAxis, sizeOf } from '../tensor.ts';

/*
 * Tells which part of its inputs a node needs where only one position of an axis of its output is read. One rule per op; ops without a rule
 * need all of their inputs.
 */

/** One position of an axis, the only one that is read. The axis counts from the front; a negative index counts from the end. */
export interface Cut {
  readonly axis: number;
  readonly index: number;
}

/** The part needed of each input, or undefined for all of it. */
export type InputCuts = readonly (Cut | undefined)[];

interface CutContext {
  readonly node: Node;
  readonly graph: Graph;
  readonly cut: Cut;
  dims(value: string): readonly number[];
  /** Numbers of a small integer tensor in the probing batch. */
  value(name: string): readonly number[] | undefined;
}

type CutRule = (c: CutContext) => InputCuts | undefined;

const output = ({ node, dims }: CutContext): readonly number[] => dims(node.outputs[0]!);

/** Returns the cut of a broadcast operand (axes counted from the last), or undefined where the operand has one position for all. */
function broadcastCut(c: CutContext, value: string): Cut | undefined {
  if (value === '') return undefined;
  const own = c.dims(value);
  const axis = c.cut.axis - (output(c).length - own.length);
  return axis >= 0 && own[axis] !== 1 ? { ...c.cut, axis } : undefined;
}

const elementwise: CutRule = (c) => c.node.inputs.map((value) => broadcastCut(c, value));

/** Returns the node's `axis` from the front. */
const ownAxis = (c: CutContext, otherwise: number): number =>
  frontAxis(attrNumber(c.node, 'axis', otherwise), output(c).length);

/** Positions are mixed from `axis` on; scale and bias lie along those. */
const layerNormalization: CutRule = (c) => (c.cut.axis < ownAxis(c, -1) ? [c.cut] : undefined);

/** Nodes that work along one axis can be cut along every other. */
const otherAxes =
  (otherwise: number): CutRule =>
  (c) =>
    ownAxis(c, otherwise) === c.cut.axis ? undefined : [c.cut];

/** Rows of a product need the same rows of the left operand; leading axes those of both. */
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

/** Finds the input's axis with as many positions and as many elements before it. */
const reshape: CutRule = (c) => {
  const [own, made] = [c.dims(c.node.inputs[0]!), output(c)];
  const before = sizeOf(made.slice(0, c.cut.axis));
  const axis = own.findIndex((d, i) => d === made[c.cut.axis] && d !== 1 && sizeOf(own.slice(0, i)) === before);
  // A 0 in the new shape copies the cut axis, or means an empty one: the shape would be wrong after the cut.
  const shape = c.value(c.node.inputs[1]!);
  const misread = attrNumber(c.node, 'allowzero', 0) ? shape?.includes(0) : axis !== c.cut.axis && shape?.[axis] === 0;
  return axis < 0 || shape === undefined || misread ? undefined : [{ ...c.cut, axis }];
};

/** Returns the axes in the node's second input. */
const axesInput = (c: CutContext, rank: number): readonly number[] | undefined =>
  constantNumbers(c.graph, c.node.inputs[1])?.map((a) => frontAxis(a, rank));

/** Returns the other axes. */
const withoutAxes = (rank: number, axes: readonly number[]): readonly number[] =>
  Array.from({ length: rank }, (_, i) => i).filter((i) => !axes.includes(i));

const reduce: CutRule = (c) => {
  const rank = c.dims(c.node.inputs[0]!).length;
  const axes = axesInput(c, rank);
  if (axes === undefined) return undefined;
  const axis = attrNumber(c.node, 'keepdims', 1) ? c.cut.axis : withoutAxes(rank, axes)[c.cut.axis]!;
  return axes.includes(axis) ? undefined : [{ ...c.cut, axis }];
};

/** Parts along another axis need the same position each. */
const concat: CutRule = (c) => (ownAxis(c, 0) === c.cut.axis ? undefined : c.node.inputs.map(() => c.cut));

/** Squeeze and Unsqueeze: the cut axis is the one with as many other axes before it. */
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
  ['Softmax', otherAxes(-1)],
  ['LogSoftmax', otherAxes(-1)],
  ['MatMul', product],
  ['Transpose', transpose],
  ['Reshape', reshape],
  ['Concat', concat],
  ['Slice', slice],
  ['Split', otherAxes(0)],
  ['Squeeze', resized],
  ['Unsqueeze', resized],
  ['GatherElements', gatherElements],
]);

/** Returns what a node needs of its inputs for one position of its outputs; undefined where it needs all, or has no rule. */
export function inputCuts(graph: Graph, shapes: Shapes, node: Node, cut: Cut): InputCuts | undefined {
  const rule = node.domain === '' ? RULES.get(node.op) : undefined;
  const known = [...node.inputs, ...node.outputs].every((name) => name === '' || shapes.has(name));
  if (!rule || !known) return undefined;
  const at = (name: string): Probed => shapes.get(name)!;
  return rule({ node, graph, cut, dims: (name) => at(name).dims, value: (name) => at(name).value });
}
