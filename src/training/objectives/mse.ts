import { z } from 'zod';
import { weightedMean } from './lists.ts';
import { objectiveKind } from './objective.ts';

/**
 * MSE: mean over passages of (s − t)², the teacher's scores as targets of single passages. The model takes over the teacher's scale and its 0
 * (as sentence-transformers' MSELoss; Hinton et al. 2015 discuss matching logits).
 */
export const mse = objectiveKind({
  name: 'MSE',
  summary: "pointwise distillation: the teacher's scores",
  options: z.strictObject({}),
  create: () => ({
    name: 'MSE',
    needs: { relevance: false, teacher: true, pointwise: true, weights: 'passages' },
    anchored: true,
    build(g, values) {
      const miss = g.sub(values.scores, values.teacher);
      return weightedMean(g, { loss: g.mul(miss, miss), counted: values.valid, of: 'passages' }, values);
    },
  }),
});
