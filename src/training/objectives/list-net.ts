import { z } from 'zod';
import { listLogSoftmax, listsWith, weightedMean } from './lists.ts';
import { objectiveKind } from './objective.ts';

/**
 * ListNet, top-one form (Cao et al., ICML 2007): mean over queries of −Σ softmax(labels)_i · log softmax(s)_i. Labels are grades or the
 * teacher's scores.
 */
export const listNet = objectiveKind({
  name: 'ListNet',
  summary: 'listwise: cross-entropy to the distribution the labels give',
  options: z.strictObject({ labels: z.enum(['relevance', 'teacher']).default('relevance') }),
  create: ({ labels }) => ({
    name: 'ListNet',
    needs: { relevance: labels === 'relevance', teacher: labels === 'teacher', weights: 'lists' },
    anchored: false,
    build(g, values) {
      const target = g.exp(listLogSoftmax(g, values[labels], values.valid));
      const crossed = g.mul(target, listLogSoftmax(g, values.scores, values.valid));
      const loss = g.neg(g.reduceSum(crossed, [1]));
      return weightedMean(g, { loss, counted: listsWith(g, values.valid), of: 'lists' }, values);
    },
  }),
});
