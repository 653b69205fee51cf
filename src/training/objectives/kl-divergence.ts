import { z } from 'zod';
import { listLogSoftmax, listsWith, weightedMean } from './lists.ts';
import { objectiveKind } from './objective.ts';

/**
 * Distillation by KL divergence (Hinton et al. 2015): mean over queries of T²·Σ p_i (log p_i − log q_i), p = softmax(t/T), q = softmax(s/T).
 * The factor T² keeps the size of the gradient as T grows.
 */
export const klDivergence = objectiveKind({
  name: 'KLDivergence',
  summary: "listwise distillation: the teacher's distribution over the list",
  options: z.strictObject({ temperature: z.number().positive().default(1) }),
  create: ({ temperature }) => ({
    name: 'KLDivergence',
    needs: { relevance: false, teacher: true, weights: 'lists' },
    anchored: false,
    build(g, values) {
      const { scores, teacher, valid } = values;
      const logSoftmax = (x: string) =>
        listLogSoftmax(g, temperature === 1 ? x : g.mul(x, g.scalar(1 / temperature)), valid);
      const target = logSoftmax(teacher);
      const gap = g.mul(g.mul(g.exp(target), valid), g.sub(target, logSoftmax(scores)));
      const loss = g.mul(g.reduceSum(gap, [1]), g.scalar(temperature ** 2));
      return weightedMean(g, { loss, counted: listsWith(g, valid), of: 'lists' }, values);
    },
  }),
});
