import { attrNumber } from '../../onnx/graph.ts';
import { frontAxis } from '../../onnx/tensor.ts';
import type { Rule, RuleContext } from '../rule.ts';

/** Returns the reduced axes, undefined for all of them. */
function reducedAxes(c: RuleContext): readonly number[] | undefined {
  const given = c.node.inputs[1] || undefined;
  const axes = c.constant(given);
  if (given !== undefined && axes === undefined) throw c.unsupported('computed axes');
  if (axes === undefined || axes.length === 0) return undefined;
  const rank = c.rank(c.node.inputs[0]!);
  return axes.map((a) => frontAxis(a, rank)).sort((a, b) => a - b);
}

/** Returns a value of y's shape with the reduced axes as 1. */
function keepAxes(c: RuleContext, value: string): string {
  if (attrNumber(c.node, 'keepdims', 1) === 1) return value;
  const rank = c.rank(c.node.inputs[0]!);
  return c.g.unsqueeze(value, reducedAxes(c) ?? Array.from({ length: rank }, (_, i) => i));
}

/** Whether the node reduces nothing. */
const isIdentity = (c: RuleContext): boolean =>
  reducedAxes(c) === undefined && attrNumber(c.node, 'noop_with_empty_axes', 0) === 1;

const broadcast = (c: RuleContext, gradient: string): string =>
  c.g.expand(keepAxes(c, gradient), c.shapeOf(c.node.inputs[0]!));

const reduction =
  (rule: (c: RuleContext, x: string, y: string) => string): Rule =>
  (c) => [isIdentity(c) ? c.dy : rule(c, c.node.inputs[0]!, c.node.outputs[0]!)];

/** y = Σ x: dx = dy, broadcast */
export const reduceSum = reduction((c) => broadcast(c, c.dy));

/** y = Σ x / n: dx = dy/n, broadcast; n = size x / size y */
export const reduceMean = reduction((c, x, y) => {
  const [many, few] = [x, y].map((v) => c.g.cast(c.g.op('Size', [v]), c.dtype(x))) as [string, string];
  return broadcast(c, c.g.mul(c.dy, c.g.div(few, many)));
});

/** y = max x (or min): dx = dy·[x = y] / #{x = y} */
export const reduceExtreme = reduction((c, x, y) => {
  const hit = c.g.cast(c.g.equal(x, keepAxes(c, y)), c.dtype(x));
  const count = c.g.reduceSum(hit, reducedAxes(c), true);
  return c.g.mul(hit, c.g.div(keepAxes(c, c.dy), count));
});

/** y = Σ x²: dx = 2·x·dy */
export const reduceSumSquare = reduction((c, x) => c.g.mul(c.g.mul(x, c.num(2, x)), keepAxes(c, c.dy)));

/** y = √Σ x²: dx = x·dy/y */
export const reduceL2 = reduction((c, x, y) => c.g.mul(x, keepAxes(c, c.g.div(c.dy, y))));

/** y = Σ |x|: dx = sign x·dy */
export const reduceL1 = reduction((c, x) => c.g.mul(c.g.op('Sign', [x]), keepAxes(c, c.dy)));

/** y = ln Σ eˣ: dx = e^(x−y)·dy */
export const reduceLogSumExp = reduction((c, x, y) => c.g.mul(c.g.exp(c.g.sub(x, keepAxes(c, y))), keepAxes(c, c.dy)));

/** yᵢ = Σ_{j≤i} xⱼ: dxᵢ = Σ_{j≥i} dyⱼ */
export const cumSum: Rule = (c) => {
  const reverse = 1 - attrNumber(c.node, 'reverse', 0);
  const exclusive = attrNumber(c.node, 'exclusive', 0);
  return [c.g.op('CumSum', [c.dy, c.node.inputs[1]!], { exclusive, reverse })];
};
