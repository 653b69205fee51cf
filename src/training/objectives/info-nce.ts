import { z } from 'zod';
import { listLogSoftmax, listsWith, positive, weightedMean } from './lists.ts';
import { objectiveKind } from './objective.ts';

/**
 * InfoNCE: mean over queries of −log softmax(s / temperature)[relevant] over the passages of the list (arXiv 2603.03010, temperature 1).
 * With several relevant passages it is the mean over them; lists without one do not count.
 */
export const infoNce = objectiveKind({
  name: 'InfoNCE',
  summary: 'listwise: pick the relevant passage among the others',
  options: z.strictObject({ temperature: z.number().positive().default(1) }),
  create: ({ temperature }) => ({
    name: 'InfoNCE',
    needs: { relevance: true, teacher: false, labels: 'binary', weights: 'lists' },
    anchored: false,
    build(g, values) {
      const { scores, relevance, valid } = values;
      const y = g.mul(positive(g, relevance), valid);
      const scaled = temperature === 1 ? scores : g.mul(scores, g.scalar(1 / temperature));
      const picked = g.reduceSum(g.mul(y, listLogSoftmax(g, scaled, valid)), [1]);
      const count = g.op('Max', [g.reduceSum(y, [1]), g.scalar(1)]);
      const loss = g.neg(g.div(picked, count));
      return weightedMean(g, { loss, counted: listsWith(g, y), of: 'lists' }, values);
    },
  }),
});
