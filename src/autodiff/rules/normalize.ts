import { attrNumber, producers } from '../../onnx/graph.ts';
import { frontAxis } from '../../onnx/tensor.ts';
import type { Rule, RuleContext } from '../rule.ts';

/** y = softmax x: dx = y·(dy − Σ dy·y), the sum over the axis. Rows of NaN (all elements masked by −∞) get 0. */
export const softmax: Rule = (c) => {
  const axis = attrNumber(c.node, 'axis', -1);
  const y = withoutNaN(c);
  const inner = c.g.reduceSum(c.g.mul(c.dy, y), [axis], true);
  return [c.g.mul(y, c.g.sub(c.dy, inner))];
};

/**
 * Returns the softmax with 0 in the place of NaN. Exports with a guard (`Where(IsNaN(y), 0, y)`) have that value already; inputs that cannot
 * hold −∞ give no NaN.
 */
function withoutNaN(c: RuleContext): string {
  const y = c.node.outputs[0]!;
  const made = producers(c.forward);
  const guard = c
    .readers(y)
    .find(
      (n) =>
        n.op === 'Where' &&
        n.inputs[2] === y &&
        isNaNOf(made.get(n.inputs[0]!), y) &&
        c.constant(n.inputs[1])?.[0] === 0,
    );
  if (guard) return guard.outputs[0]!;
  return c.mayBeInfinite(c.node.inputs[0]!) ? c.g.where(c.g.op('IsNaN', [y]), c.num(0, y), y) : y;
}

const isNaNOf = (node: ReturnType<ReturnType<typeof producers>['get']>, y: string): boolean =>
  node?.op === 'IsNaN' && node.inputs[0] === y;

/** y = x − ln Σ eˣ: dx = dy − e^y·Σ dy */
export const logSoftmax: Rule = (c) => {
  const axis = attrNumber(c.node, 'axis', -1);
  const total = c.g.reduceSum(c.dy, [axis], true);
  return [c.g.sub(c.dy, c.g.mul(c.g.exp(c.node.outputs[0]!), total))];
};

/**
 * x̂ = (x − μ)·r, r = 1/√(var + ε), y = γ·x̂ + β, all over the axes from `axis` on:
 * dβ = Σ→β dy, dγ = Σ→γ dy·x̂, dx = r·(s − mean s − x̂·mean(s·x̂)) with s = dy·γ.
 * μ and r are the node's own second and third outputs. With q = dy·r and u = x − μ, few passes over all elements are needed:
 * dγ = Σ→γ q·u, dx = q·γ − u·r²·mean(γ·q·u) − mean(γ·q).
 */
export const layerNormalization: Rule = (c) => {
  const { g } = c;
  const [x, gamma, beta = ''] = c.node.inputs as [string, string, string?];
  const [y, mean, inverse] = c.node.outputs as [string, string, string];
  const dBeta = beta !== '' && c.needs(2) ? c.reduceTo(c.dy, y, beta) : undefined;
  if (!c.needs(0) && !c.needs(1)) return [undefined, undefined, dBeta];
  const q = g.mul(c.dy, inverse);
  const u = g.sub(x, mean);
  const product = g.mul(q, u);
  const dGamma = c.needs(1) ? c.reduceTo(product, y, gamma) : undefined;
  if (!c.needs(0)) return [undefined, dGamma, dBeta];
  const weighted = weightedMean(c, x, gamma);
  const slope = g.mul(weighted(product), g.mul(inverse, inverse));
  return [g.sub(g.sub(g.mul(q, gamma), g.mul(u, slope)), weighted(q)), dGamma, dBeta];
};

/** Returns the map from a value to the mean of γ·value over the normalized axes, kept with size 1: over the last axis alone a product with γ. */
function weightedMean(c: RuleContext, x: string, gamma: string): (value: string) => string {
  const { g } = c;
  const rank = c.rank(x);
  const first = frontAxis(attrNumber(c.node, 'axis', -1), rank);
  const size = c.dims(x)[first]!;
  if (first === rank - 1 && c.rank(gamma) === 1 && c.dims(gamma)[0] === size && rank > 1) {
    const column = g.reshape(g.mul(gamma, c.num(1 / size, gamma)), [size, 1]);
    return (value) => c.matmul(value, column, { rankA: rank, rankB: 2 });
  }
  const axes = Array.from({ length: rank - first }, (_, i) => first + i);
  return (value) => g.reduceMean(g.mul(value, gamma), axes);
}
