import { z } from 'zod';
import { differences, ranks, second, weightedMean } from './lists.ts';
import { objectiveKind } from './objective.ts';

/**
 * ADR-MSE: mean over passages of (r̂_i − r_i)² / log₂(r_i + 1), with the approximate rank r̂_i = 1 + Σ_{j≠i} σ((s_j − s_i)/T) and the
 * teacher's rank r_i, 1 = best (Schlatt et al., ECIR 2025; arXiv 2603.03010 uses T = 1 and ties by order).
 */
export const adrMse = objectiveKind({
  name: 'ADR-MSE',
  summary: "listwise distillation: the teacher's ranks, discounted",
  options: z.strictObject({
    temperature: z.number().positive().default(1),
    ties: z.enum(['order', 'average']).default('order'),
  }),
  create: ({ temperature, ties }) => ({
    name: 'ADR-MSE',
    needs: { relevance: false, teacher: true, weights: 'lists' },
    anchored: false,
    build(g, values) {
      const { scores, teacher, valid } = values;
      // Entry (i, j) of the differences is s_i − s_j. The diagonal adds σ(0) = ½, hence 0.5 instead of 1.
      const above = g.sigmoid(g.mul(differences(g, scores), g.scalar(-1 / temperature)));
      const approximate = g.add(g.reduceSum(g.mul(above, second(g, valid)), [2], false), g.scalar(0.5));
      const rank = ranks(g, teacher, valid, ties);
      const miss = g.sub(approximate, rank);
      const discount = g.div(g.scalar(Math.LN2), g.log(g.add(rank, g.scalar(1))));
      const loss = g.mul(g.mul(miss, miss), discount);
      return weightedMean(g, { loss, counted: valid, of: 'lists' }, values);
    },
  }),
});
