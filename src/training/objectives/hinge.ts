import { z } from 'zod';
import { differences, relevantPairs, weightedMean } from './lists.ts';
import { objectiveKind } from './objective.ts';

/** Hinge: mean over (relevant, other) pairs of max(0, margin − s₊ + s₋) (arXiv 2603.03010, margin 1). */
export const hinge = objectiveKind({
  name: 'Hinge',
  summary: 'pairwise: a relevant passage scores a margin above another',
  options: z.strictObject({ margin: z.number().positive().default(1) }),
  create: ({ margin }) => ({
    name: 'Hinge',
    needs: { relevance: true, teacher: false, labels: 'binary', weights: 'lists' },
    anchored: false,
    build(g, values) {
      const slack = g.relu(g.sub(g.scalar(margin), differences(g, values.scores)));
      return weightedMean(g, { loss: slack, counted: relevantPairs(g, values), of: 'pairs' }, values);
    },
  }),
});
