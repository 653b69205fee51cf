import { z } from 'zod';
import { differences, relevantPairs, weightedMean } from './lists.ts';
import { objectiveKind } from './objective.ts';

/** MarginMSE: mean over (relevant, other) pairs of ((s₊ − s₋) − (t₊ − t₋))² (Hofstätter et al. 2020, arXiv 2010.02666). */
export const marginMse = objectiveKind({
  name: 'MarginMSE',
  summary: "pairwise distillation: the teacher's margins",
  options: z.strictObject({}),
  create: () => ({
    name: 'MarginMSE',
    needs: { relevance: true, teacher: true, labels: 'binary', weights: 'lists' },
    anchored: false,
    build(g, values) {
      const miss = g.sub(differences(g, values.scores), differences(g, values.teacher));
      return weightedMean(g, { loss: g.mul(miss, miss), counted: relevantPairs(g, values), of: 'pairs' }, values);
    },
  }),
});
