import { attrNumber, attrString } from '../../onnx/graph.ts';
import type { Rule, RuleContext } from '../rule.ts';

interface Product {
  readonly transA: boolean;
  readonly transB: boolean;
  readonly alpha: number;
}

/**
 * Y = α A′ B′ with A′ = Aᵀ or A, B′ = Bᵀ or B:
 * dA′ = α dY B′ᵀ (so dA = α B′ dYᵀ if transposed), dB′ = α A′ᵀ dY (so dB = α dYᵀ A′ if transposed), summed over broadcast leading axes.
 */
function product(c: RuleContext, { transA, transB, alpha }: Product): readonly (string | undefined)[] {
  const [a, b] = c.node.inputs as [string, string];
  if (c.rank(a) < 2 || c.rank(b) < 2) return vectorProduct(c, alpha);
  if (c.rank(b) === 2 && !transA) return tokensTimesMatrix(c, { transA, transB, alpha });
  const y = c.node.outputs[0]!;
  const ranks = { y: c.rank(y), a: c.rank(a), b: c.rank(b) };
  const da = () =>
    transA
      ? c.matmul(b, c.dy, { transA: transB, transB: true, alpha, rankA: ranks.b, rankB: ranks.y })
      : c.matmul(c.dy, b, { transB: !transB, alpha, rankA: ranks.y, rankB: ranks.b });
  const db = () =>
    transB
      ? c.matmul(c.dy, a, { transA: true, transB: transA, alpha, rankA: ranks.y, rankB: ranks.a })
      : c.matmul(a, c.dy, { transA: !transA, alpha, rankA: ranks.a, rankB: ranks.y });
  return [c.needs(0) ? sumLeading(c, da(), a) : undefined, c.needs(1) ? sumLeading(c, db(), b) : undefined];
}

/** Sums over the leading axes along which the operand was broadcast. */
function sumLeading(c: RuleContext, gradient: string, operand: string): string {
  const y = c.dims(c.node.outputs[0]!);
  const own = c.dims(operand);
  const missing = y.length - own.length;
  const axes = y.slice(0, -2).flatMap((d, i) => (i < missing || (own[i - missing] === 1 && d !== 1) ? [i] : []));
  if (axes.length === 0) return gradient;
  const summed = c.g.reduceSum(gradient, axes, true);
  return missing === 0
    ? summed
    : c.g.squeeze(
        summed,
        Array.from({ length: missing }, (_, i) => i),
      );
}

/** A linear layer: the tokens of the batch form one matrix, so that the weight's gradient is one product. */
function tokensTimesMatrix(c: RuleContext, { transB, alpha }: Product): readonly (string | undefined)[] {
  const [a, b] = c.node.inputs as [string, string];
  const da = () => c.matmul(c.dy, b, { transB: !transB, alpha, rankA: c.rank(a), rankB: 2 });
  const db = () => {
    const tokens = asMatrix(c, a, c.rank(a));
    const dy = asMatrix(c, c.dy, c.rank(a));
    return transB ? c.matmul(dy, tokens, { transA: true, alpha }) : c.matmul(tokens, dy, { transA: true, alpha });
  };
  return [c.needs(0) ? da() : undefined, c.needs(1) ? db() : undefined];
}

function asMatrix(c: RuleContext, value: string, rank: number): string {
  if (rank === 2) return value;
  return c.once(`matrix ${value}`, () =>
    c.g.reshape(
      value,
      c.g.concat([c.g.ints([-1]), c.g.slice(c.g.shape(value), [-1], [Number.MAX_SAFE_INTEGER], [0])], 0),
    ),
  );
}

/** Treats a vector a as a row [1, k] and a vector b as a column [k, 1]; their axes are added to the product's gradient first. */
function vectorProduct(c: RuleContext, alpha: number): readonly (string | undefined)[] {
  const [a, b] = c.node.inputs as [string, string];
  const { g } = c;
  const row = c.rank(a) === 1;
  const column = c.rank(b) === 1;
  const left = row ? g.unsqueeze(a, [0]) : a;
  const right = column ? g.unsqueeze(b, [1]) : b;
  let dy = c.dy;
  if (column) dy = g.unsqueeze(dy, [-1]);
  if (row) dy = g.unsqueeze(dy, [-2]);
  const rank = Math.max(c.rank(a), c.rank(b), 2);
  const rankA = Math.max(c.rank(a), 2);
  const rankB = Math.max(c.rank(b), 2);
  const da = () => c.matmul(dy, right, { transB: true, alpha, rankA: rank, rankB });
  const db = () => c.matmul(left, dy, { transA: true, alpha, rankA, rankB: rank });
  const toVector = (gradient: string, vector: boolean, like: string): string => {
    if (!vector) return gradient;
    const leading = Array.from({ length: rank - 2 }, (_, i) => i);
    const summed = leading.length > 0 ? g.reduceSum(gradient, leading, false) : gradient;
    return g.reshape(summed, c.shapeOf(like));
  };
  return [c.needs(0) ? toVector(da(), row, a) : undefined, c.needs(1) ? toVector(db(), column, b) : undefined];
}

/** Y = A B */
export const matMul: Rule = (c) => product(c, { transA: false, transB: false, alpha: 1 });

/** Y = α A′ B′, `com.microsoft` */
export const fusedMatMul: Rule = (c) => {
  if (attrNumber(c.node, 'transBatchA', 0) !== 0 || attrNumber(c.node, 'transBatchB', 0) !== 0)
    throw c.unsupported('transBatchA and transBatchB');
  const [transA, transB] = [attrNumber(c.node, 'transA', 0) !== 0, attrNumber(c.node, 'transB', 0) !== 0];
  return product(c, { transA, transB, alpha: attrNumber(c.node, 'alpha', 1) });
};

/** Y = α A′ B′ + β C: as above, and dC = β Σ→C dY */
export const gemm: Rule = (c) => {
  const [transA, transB] = [attrNumber(c.node, 'transA', 0) !== 0, attrNumber(c.node, 'transB', 0) !== 0];
  const [da, db] = product(c, { transA, transB, alpha: attrNumber(c.node, 'alpha', 1) });
  const third = c.node.inputs[2] ?? '';
  if (third === '' || !c.needs(2)) return [da, db];
  const beta = attrNumber(c.node, 'beta', 1);
  const dc = biasGradient(c, third);
  return [da, db, beta === 1 ? dc : c.g.mul(dc, c.num(beta, third))];
};

/** Σ→C dy. Where a Reshape to rows follows the product, the sum goes row by row (see `reduceTo`). */
function biasGradient(c: RuleContext, bias: string): string {
  const y = c.node.outputs[0]!;
  const [next, ...others] = c.readers(y);
  const rows = next?.op === 'Reshape' && others.length === 0 ? next.outputs[0]! : y;
  const byRow = rows !== y && c.dims(bias).length === 1 && c.dims(rows).at(-1) === c.dims(y).at(-1);
  return byRow ? c.reduceTo(c.g.reshape(c.dy, c.shapeOf(rows)), rows, bias) : c.reduceTo(c.dy, y, bias);
}

/**
 * Two operands, explicit output, no letter twice in an operand: dA = einsum(y, b → a), dB = einsum(y, a → b).
 * A letter of one operand alone is not supported: the forward pass sums over it, and Einsum cannot write the broadcast of its gradient.
 */
export const einsum: Rule = (c) => {
  const equation = attrString(c.node, 'equation', '').replaceAll(' ', '');
  const [left, out] = equation.split('->');
  const terms = left?.split(',') ?? [];
  if (out === undefined || terms.length !== 2 || equation.includes('.')) throw c.unsupported(`equation ${equation}`);
  const [a, b] = terms as [string, string];
  for (const [term, other] of [
    [a, b],
    [b, a],
  ] as const)
    if (
      new Set(term).size !== term.length ||
      [...term].some((letter) => !out.includes(letter) && !other.includes(letter))
    )
      throw c.unsupported(`equation ${equation}`);
  const [x, w] = c.node.inputs as [string, string];
  return [
    c.needs(0) ? c.g.op('Einsum', [c.dy, w], { equation: `${out},${b}->${a}` }) : undefined,
    c.needs(1) ? c.g.op('Einsum', [c.dy, x], { equation: `${out},${a}->${b}` }) : undefined,
  ];
};
