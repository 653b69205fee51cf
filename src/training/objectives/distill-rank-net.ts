import { z } from 'zod';
import { differences, indicator, validPairs, weightedMean } from './lists.ts';
import { objectiveKind } from './objective.ts';

/**
 * DistillRankNET: mean over all pairs with t_i > t_j of all lists of the batch of softplus(−(s_i − s_j)·scale). Pairs with equal teacher
 * scores are skipped (arXiv 2603.03010, scale 1; after RankNet, Burges et al. 2005).
 */
export const distillRankNet = objectiveKind({
  name: 'DistillRankNET',
  summary: "pairwise distillation: the teacher's order",
  options: z.strictObject({ scale: z.number().positive().default(1) }),
  create: ({ scale }) => ({
    name: 'DistillRankNET',
    needs: { relevance: false, teacher: true, weights: 'lists' },
    anchored: false,
    build(g, values) {
      const { scores, teacher, valid } = values;
      const preferred = indicator(g, g.greater(differences(g, teacher), g.scalar(0)));
      const gap = differences(g, scores);
      const loss = g.softplus(g.mul(gap, g.scalar(-scale)));
      const counted = g.mul(preferred, validPairs(g, valid));
      return weightedMean(g, { loss, counted, of: 'pairs' }, values);
    },
  }),
});
