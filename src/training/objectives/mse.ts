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
    needs: { relevance: false, teacher: true, pointwise: true },
    anchored: true,
    build(g, { scores, teacher, valid }) {
      const miss = g.sub(scores, teacher);
      return weightedMean(g, g.mul(miss, miss), valid);
    },
  }),
});
