import { attrString } from '../../onnx/graph.ts';
import type { Rule, RuleContext } from '../rule.ts';

/** Makes the rule of y = f(x) from dx in terms of x and y. */
const unary =
  (dx: (c: RuleContext, x: string, y: string) => string): Rule =>
  (c) => [dx(c, c.node.inputs[0]!, c.node.outputs[0]!)];

/** Makes the rule of y = f(a, b) with broadcasting from da and db, which are then summed. */
const binary =
  (da: (c: RuleContext, a: string, b: string, y: string) => string, db: typeof da): Rule =>
  (c) => {
    const [a, b] = c.node.inputs as [string, string];
    const y = c.node.outputs[0]!;
    return [da, db].map((d, i) => (c.needs(i) ? c.reduceTo(d(c, a, b, y), y, i === 0 ? a : b) : undefined));
  };

/** da = Σ→a dy, db = Σ→b dy */
export const add = binary(
  (c) => c.dy,
  (c) => c.dy,
);

/** da = Σ→a dy, db = −Σ→b dy */
export const sub: Rule = (c) => {
  const [a, b] = c.node.inputs as [string, string];
  const y = c.node.outputs[0]!;
  return [c.needs(0) ? c.reduceTo(c.dy, y, a) : undefined, c.needs(1) ? c.g.neg(c.reduceTo(c.dy, y, b)) : undefined];
};

/** da = Σ→a dy·b, db = Σ→b dy·a */
export const mul = binary(
  (c, _a, b) => c.g.mul(c.dy, b),
  (c, a) => c.g.mul(c.dy, a),
);

/** da = Σ→a dy/b, db = −Σ→b dy·y/b */
export const div = binary(
  (c, _a, b) => c.g.div(c.dy, b),
  (c, _a, b, y) => c.g.neg(c.g.div(c.g.mul(c.dy, y), b)),
);

/** da = Σ→a dy·b·a^(b−1), db = Σ→b dy·y·ln a */
export const pow = binary(
  (c, a, b) => c.g.mul(c.dy, powerSlope(c, a, b)),
  (c, a, _b, y) => c.g.mul(c.dy, c.g.mul(y, c.g.log(a))),
);

/** b·a^(b−1); 2a for a square. */
function powerSlope(c: RuleContext, a: string, b: string): string {
  const exponent = c.constant(b);
  if (exponent?.length === 1) {
    const n = exponent[0]!;
    const power = n === 2 ? a : c.g.op('Pow', [a, c.num(n - 1, a)]);
    return c.g.mul(power, c.num(n, a));
  }
  const like = c.dtype(b) === c.dtype(a) ? b : c.g.cast(b, c.dtype(a));
  return c.g.mul(like, c.g.op('Pow', [a, c.g.sub(like, c.num(1, a))]));
}

/** dx = −dy */
export const neg = unary((c) => c.g.neg(c.dy));

/** dx = dy */
export const identity = unary((c) => c.dy);

/** dx = dy / (2y) */
export const sqrt = unary((c, x, y) => c.g.div(c.g.mul(c.dy, c.num(0.5, x)), y));

/** dx = −dy·y² */
export const reciprocal = unary((c, _x, y) => c.g.neg(c.g.mul(c.dy, c.g.mul(y, y))));

/** dx = dy·y */
export const exp = unary((c, _x, y) => c.g.mul(c.dy, y));

/** dx = dy/x */
export const log = unary((c, x) => c.g.div(c.dy, x));

/** dx = dy·sign x */
export const abs = unary((c, x) => c.g.mul(c.dy, c.g.op('Sign', [x])));

/** dx = dy·cos x */
export const sin = unary((c, x) => c.g.mul(c.dy, c.g.op('Cos', [x])));

/** dx = −dy·sin x */
export const cos = unary((c, x) => c.g.neg(c.g.mul(c.dy, c.g.op('Sin', [x]))));

/** dx = dy·2/√π·e^(−x²) */
export const erf = unary((c, x) => {
  const bell = c.g.exp(c.g.neg(c.g.mul(x, x)));
  return c.g.mul(c.g.mul(c.dy, c.num(2 / Math.sqrt(Math.PI), x)), bell);
});

/** dx = dy·(1 − y²) */
export const tanh = unary((c, x, y) => c.g.mul(c.dy, c.g.sub(c.num(1, x), c.g.mul(y, y))));

/** dx = dy·y·(1 − y) */
export const sigmoid = unary((c, x, y) => c.g.mul(c.dy, c.g.mul(y, c.g.sub(c.num(1, x), y))));

/** dx = dy·σ(x) */
export const softplus = unary((c, x) => c.g.mul(c.dy, c.g.sigmoid(x)));

/** dx = dy where x > 0, else 0 */
export const relu = unary((c, x) => c.g.where(c.g.greater(x, c.num(0, x)), c.dy, c.num(0, x)));

/** dx = dy where low ≤ x ≤ high, else 0 */
export const clip: Rule = (c) => {
  const [x, low = '', high = ''] = c.node.inputs as [string, string?, string?];
  let dx = c.dy;
  if (low !== '') dx = c.g.where(c.g.less(x, low), c.num(0, x), dx);
  if (high !== '') dx = c.g.where(c.g.greater(x, high), c.num(0, x), dx);
  return [dx];
};

/** dx = dy, in the type of x */
export const cast: Rule = (c) => [c.g.cast(c.dy, c.dtype(c.node.inputs[0]!))];

/** Sign, Floor, Ceil, Round have derivative 0: no gradient. */
export const flat: Rule = (c) => c.node.inputs.map(() => undefined);

/** da = Σ→a (condition ? dy : 0), db = Σ→b (condition ? 0 : dy) */
export const where: Rule = (c) => {
  const [condition, a, b] = c.node.inputs as [string, string, string];
  const y = c.node.outputs[0]!;
  const zero = c.num(0, y);
  return [
    undefined,
    c.needs(1) ? c.reduceTo(c.g.where(condition, c.dy, zero), y, a) : undefined,
    c.needs(2) ? c.reduceTo(c.g.where(condition, zero, c.dy), y, b) : undefined,
  ];
};

/** Max, Min of several: dxᵢ = Σ→xᵢ dy·[xᵢ = y] / #{j: xⱼ = y} */
export const extreme: Rule = (c) => {
  const y = c.node.outputs[0]!;
  const hits = c.node.inputs.map((x) => c.g.cast(c.g.equal(x, y), c.dtype(y)));
  if (hits.length === 1) return [c.dy];
  const share = c.g.div(c.dy, c.g.op('Sum', hits));
  return c.node.inputs.map((x, i) => (c.needs(i) ? c.reduceTo(c.g.mul(share, hits[i]!), y, x) : undefined));
};

/** Sum of several: dxᵢ = Σ→xᵢ dy */
export const sum: Rule = (c) =>
  c.node.inputs.map((x, i) => (c.needs(i) ? c.reduceTo(c.dy, c.node.outputs[0]!, x) : undefined));

/**
 * y = x·Φ(x): dx = dy·(Φ(x) + x·φ(x)), Φ(x) = (1 + erf(x/√2))/2, φ(x) = e^(−x²/2)/√(2π).
 * With u = x/√2: Φ = (1 + erf u)/2 and x·φ = u·e^(−u²)/√π.
 * y = x/2·(1 + t), t = tanh(c(x + .044715x³)), c = √(2/π): dx = dy·((1 + t)/2 + x/2·(1 − t²)·c(1 + .134145x²)).
 */
export const gelu: Rule = (c) => {
  const x = c.node.inputs[0]!;
  return [attrString(c.node, 'approximate', 'none') === 'tanh' ? tanhGelu(c, x) : exactGelu(c, x)];
};

/**
 * Two shortcuts: (1 + erf u)/2 lies within 0 and 1, so a hard sigmoid of slope ½ computes it in one pass; the factor 1/√π of the bell is a
 * term of its exponent and replaces the negation.
 */
function exactGelu(c: RuleContext, x: string): string {
  const { g } = c;
  const u = g.mul(x, c.num(Math.SQRT1_2, x));
  const erf = g.op('Erf', [u]);
  const area =
    c.dtype(x) === 'float32'
      ? g.op('HardSigmoid', [erf], { alpha: 0.5, beta: 0.5 })
      : g.mul(g.add(erf, c.num(1, x)), c.num(0.5, x));
  const bell = g.mul(g.exp(g.sub(c.num(-Math.log(Math.PI) / 2, x), g.mul(u, u))), u);
  return g.mul(c.dy, g.add(area, bell));
}

function tanhGelu(c: RuleContext, x: string): string {
  const { g } = c;
  const root = Math.sqrt(2 / Math.PI);
  const square = g.mul(x, x);
  const inner = g.mul(x, g.add(g.mul(square, c.num(0.044715 * root, x)), c.num(root, x)));
  const t = g.op('Tanh', [inner]);
  const slope = g.add(g.mul(square, c.num(3 * 0.044715 * root, x)), c.num(root, x));
  const rest = g.mul(g.mul(x, g.sub(c.num(1, x), g.mul(t, t))), slope);
  return g.mul(g.mul(c.dy, c.num(0.5, x)), g.add(g.add(t, c.num(1, x)), rest));
}
