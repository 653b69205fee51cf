import { z } from 'zod';
import type { GraphBuilder } from '../../onnx/builder.ts';
import { differences, first, indicator, ranks, second, validPairs, weightedMean } from './lists.ts';
import { type LossValues, objectiveKind } from './objective.ts';

const SCHEMES = ['lambdaRank', 'ndcgLoss2', 'ndcgLoss2++'] as const;
type Scheme = (typeof SCHEMES)[number];

/** 1 / log₂(1 + rank). */
const discount = (g: GraphBuilder, rank: string): string => g.div(g.scalar(Math.LN2), g.log(g.add(rank, g.scalar(1))));

/** (2^label − 1) / ideal DCG of the list: what a passage adds to nDCG at rank 1. */
function normalizedGains(g: GraphBuilder, labels: string, valid: string): string {
  const gains = g.mul(g.sub(g.exp(g.mul(labels, g.scalar(Math.LN2))), g.scalar(1)), valid);
  const ideal = g.reduceSum(g.mul(gains, discount(g, ranks(g, labels, valid))), [1]);
  return g.div(gains, g.op('Max', [ideal, g.scalar(1e-12)]));
}

const WEIGHTS: Readonly<Record<Scheme, (g: GraphBuilder, rank: string, mu: number) => string>> = {
  // |1/D(r_i) − 1/D(r_j)|
  lambdaRank: (g, rank) => g.op('Abs', [differences(g, discount(g, rank))]),
  // |1/D(|r_i − r_j|) − 1/D(|r_i − r_j| + 1)|; distance 0, a passage with itself, is no pair.
  ndcgLoss2(g, rank) {
    const distance = g.op('Max', [g.op('Abs', [differences(g, rank)]), g.scalar(1)]);
    return g.op('Abs', [g.sub(discount(g, distance), discount(g, g.add(distance, g.scalar(1))))]);
  },
  'ndcgLoss2++': (g, rank, mu) =>
    g.add(g.mul(g.scalar(mu), WEIGHTS.ndcgLoss2(g, rank, mu)), WEIGHTS.lambdaRank(g, rank, mu)),
};

/** Labels for the exponential gain: grades as they are, teacher scores scaled to 0 … 1 within their list. */
function gradedLabels(g: GraphBuilder, values: LossValues, source: 'relevance' | 'teacher'): string {
  if (source === 'relevance') return values.relevance;
  const hidden = g.mul(g.sub(g.scalar(1), values.valid), g.scalar(1e9));
  const top = g.reduceMax(g.sub(values.teacher, hidden), [1]);
  const bottom = g.neg(g.reduceMax(g.sub(g.neg(values.teacher), hidden), [1]));
  const width = g.op('Max', [g.sub(top, bottom), g.scalar(1e-6)]);
  return g.mul(g.div(g.sub(values.teacher, bottom), width), values.valid);
}

/**
 * LambdaLoss (Wang et al., CIKM 2018): mean over pairs with y_i > y_j of δ_ij·|G_i − G_j|·log₂(1 + e^{−σ(s_i − s_j)}). G is the gain
 * divided by the list's ideal DCG, δ the scheme's difference of discounts at the ranks of the current scores. Both are constants of the step.
 */
export const lambdaLoss = objectiveKind({
  name: 'LambdaLoss',
  summary: 'listwise: pairs weighted by what swapping them does to nDCG',
  options: z.strictObject({
    scheme: z.enum(SCHEMES).default('ndcgLoss2++'),
    sigma: z.number().positive().default(1),
    mu: z.number().positive().default(10),
    labels: z.enum(['relevance', 'teacher']).default('relevance'),
  }),
  create: ({ scheme, sigma, mu, labels: source }) => ({
    name: 'LambdaLoss',
    needs: { relevance: source === 'relevance', teacher: source === 'teacher', weights: 'lists' },
    anchored: false,
    build(g, values) {
      const labels = gradedLabels(g, values, source);
      const preferred = indicator(g, g.greater(first(g, labels), second(g, labels)));
      const pairs = g.mul(preferred, validPairs(g, values.valid));
      const rank = ranks(g, values.scores, values.valid);
      const gain = g.op('Abs', [differences(g, normalizedGains(g, labels, values.valid))]);
      const weight = g.mul(WEIGHTS[scheme](g, rank, mu), gain);
      const logistic = g.mul(
        g.softplus(g.mul(differences(g, values.scores), g.scalar(-sigma))),
        g.scalar(1 / Math.LN2),
      );
      return weightedMean(g, { loss: g.mul(weight, logistic), counted: pairs, of: 'pairs' }, values);
    },
  }),
});
