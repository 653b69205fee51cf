import { z } from 'zod';
import { positive, weightedMean } from './lists.ts';
import { objectiveKind } from './objective.ts';

/** Binary cross-entropy with logits: mean over passages of softplus(s) − y·s, y = 1 for relevant passages (arXiv 2603.03010). */
export const bce = objectiveKind({
  name: 'BCE',
  summary: 'pointwise: is this passage relevant?',
  options: z.strictObject({}),
  create: () => ({
    name: 'BCE',
    needs: { relevance: true, teacher: false },
    anchored: true,
    build(g, { scores, relevance, valid }) {
      return weightedMean(g, g.sub(g.softplus(scores), g.mul(positive(g, relevance), scores)), valid);
    },
  }),
});
