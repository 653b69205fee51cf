import { attrNumber, attrNumbers } from '../../onnx/graph.ts';
import { frontAxis } from '../../onnx/tensor.ts';
import type { Rule, RuleContext } from '../rule.ts';
import { gatherRows } from './gather.ts';

/** Reshape, Flatten, Squeeze, Unsqueeze: dx = dy in the shape of x */
export const sameElements: Rule = (c) => [c.g.reshape(c.dy, c.shapeOf(c.node.inputs[0]!))];

/** dx = dy, transposed back */
export const transpose: Rule = (c) => {
  const rank = c.rank(c.node.inputs[0]!);
  const perm = attrNumbers(c.node, 'perm') ?? Array.from({ length: rank }, (_, i) => rank - 1 - i);
  const inverse = perm.map((_, axis) => perm.indexOf(axis));
  return [c.g.transpose(c.dy, inverse)];
};

/** dx = Σ→x dy */
export const expand: Rule = (c) => [c.reduceTo(c.dy, c.node.outputs[0]!, c.node.inputs[0]!)];

/** dx = dy as [… repeats, size, …], summed over the repeats */
export const tile: Rule = (c) => {
  const x = c.node.inputs[0]!;
  const y = c.node.outputs[0]!;
  const [dx, dyDims] = [c.dims(x), c.dims(y)];
  const parts: string[] = [];
  const repeats: number[] = [];
  for (const [axis, size] of dx.entries()) {
    if (dyDims[axis] !== size) {
      repeats.push(parts.length);
      parts.push(c.g.div(c.sizeOf(y, axis), c.sizeOf(x, axis)));
    }
    parts.push(c.sizeOf(x, axis));
  }
  if (repeats.length === 0) return [c.dy];
  return [c.g.reduceSum(c.g.reshape(c.dy, c.g.concat(parts, 0)), repeats, false)];
};

/** dxᵢ = the part of dy that belongs to xᵢ */
export const concat: Rule = (c) => {
  const axis = frontAxis(attrNumber(c.node, 'axis', 0), c.rank(c.node.outputs[0]!));
  const sizes = c.g.concat(
    c.node.inputs.map((x) => c.sizeOf(x, axis)),
    0,
  );
  if (c.node.inputs.length === 1) return [c.dy];
  return c.g.ops('Split', [c.dy, sizes], { axis }, c.node.inputs.length);
};

/** dx = the gradients of the parts, concatenated; zeros for a part without one */
export const split: Rule = (c) => {
  const axis = attrNumber(c.node, 'axis', 0);
  const parts = c.node.outputs.map((y, i) => c.gradient(i) ?? c.g.expand(c.num(0, c.node.inputs[0]!), c.shapeOf(y)));
  return [parts.length === 1 ? parts[0]! : c.g.concat(parts, axis)];
};

/** dx = dy surrounded by zeros: on each axis `start` before, `size − start − length` after */
export const slice: Rule = (c) => {
  const [x, starts, ends, axesName, stepsName] = c.node.inputs as [string, string, string, string?, string?];
  const y = c.node.outputs[0]!;
  const rank = c.rank(x);
  const count = c.constant(starts)?.length ?? c.dims(starts)[0]!;
  const axes = c.constant(axesName || undefined) ?? Array.from({ length: count }, (_, i) => i);
  const steps = c.constant(stepsName || undefined) ?? axes.map(() => 1);
  if (axesName && !c.constant(axesName)) throw c.unsupported('computed axes');
  if (axes.length !== count || steps.length !== count) throw c.unsupported('computed steps');
  const plain = axes.map((a) => frontAxis(a, rank));
  if (steps.some((s) => s !== 1)) return [strided(c, x, [starts, ends, stepsName!], plain)];
  const before = plain.map((axis, i) => firstOf(c, x, starts, axis, i));
  const after = plain.map((axis, i) => c.g.sub(c.g.sub(c.sizeOf(x, axis), before[i]!), c.sizeOf(y, axis)));
  // Pads of all axes: the engine's transpose optimizer breaks a Pad with an input of axes.
  const none = c.g.ints([0]);
  const everyAxis = (found: readonly string[]): string[] =>
    Array.from({ length: rank }, (_, axis) => found[plain.indexOf(axis)] ?? none);
  const pads = c.g.concat([...everyAxis(before), ...everyAxis(after)], 0);
  return [c.g.op('Pad', [c.dy, pads, c.num(0, x)], { mode: 'constant' })];
};

/** Returns the start of a slice on an axis: a negative one counts from the end, and both ends clamp. */
function firstOf(c: RuleContext, x: string, starts: string, axis: number, i: number): string {
  const known = c.constant(starts)?.[i];
  if (known === 0) return c.g.ints([0]);
  const size = c.sizeOf(x, axis);
  const start = known === undefined ? c.g.slice(starts, [i], [i + 1], [0]) : c.g.ints([known]);
  const fromEnd = c.g.where(c.g.less(start, c.g.ints([0])), c.g.add(start, size), start);
  return c.g.op('Min', [c.g.op('Max', [fromEnd, c.g.ints([0])]), size]);
}

/** Gradient of a slice with steps other than 1, as of a gather of its positions, axis by axis. */
function strided(
  c: RuleContext,
  x: string,
  [starts, ends, steps]: readonly [string, string, string],
  axes: readonly number[],
): string {
  let dx = c.dy;
  for (const [i, axis] of axes.entries()) {
    const [from, to, by] = [starts, ends, steps].map((v) => c.g.slice(v, [i], [i + 1], [0])) as [
      string,
      string,
      string,
    ];
    const size = c.sizeOf(x, axis);
    const all = c.g.op('Range', [c.g.scalar(0, 'int64'), c.g.squeeze(size, [0]), c.g.scalar(1, 'int64')]);
    const taken = c.g.op('Slice', [all, from, to, c.g.ints([0]), by]);
    dx = gatherRows(c, { dy: dx, indices: taken, indexRank: 1, axis, rank: c.rank(x), size });
  }
  return dx;
}

/** dx = dy without the padding (mode constant) */
export const pad: Rule = (c) => {
  const x = c.node.inputs[0]!;
  const mode = c.node.attrs.mode;
  if (mode?.kind === 'string' && mode.value !== 'constant') throw c.unsupported(`mode ${mode.value}`);
  const rank = c.rank(x);
  const axes = c.constant(c.node.inputs[3] || undefined) ?? Array.from({ length: rank }, (_, i) => i);
  const begin = c.g.slice(c.node.inputs[1]!, [0], [axes.length], [0]);
  const sizes = c.g.concat(
    axes.map((a) => c.sizeOf(x, frontAxis(a, rank))),
    0,
  );
  return [c.g.op('Slice', [c.dy, begin, c.g.add(begin, sizes), c.g.ints(axes)])];
};

/** dx = the same triangle of dy */
export const trilu: Rule = (c) => [c.g.op('Trilu', [c.dy, ...c.node.inputs.slice(1)], c.node.attrs)];
