import { z } from 'zod';
import { weightedMean } from './lists.ts';
import { objectiveKind } from './objective.ts';

/**
 * Binary cross-entropy with logits: mean over passages of softplus(s) − y·s, y = 1 for relevant passages (arXiv 2603.03010). A soft label is
 * the target itself, as in sentence-transformers' BinaryCrossEntropyLoss.
 */
export const bce = objectiveKind({
  name: 'BCE',
  summary: 'pointwise: is this passage relevant?',
  options: z.strictObject({}),
  create: () => ({
    name: 'BCE',
    needs: { relevance: true, teacher: false, labels: 'target' },
    anchored: true,
    build(g, { scores, relevance, valid }) {
      const target = g.op('Min', [relevance, g.scalar(1)]);
      return weightedMean(g, g.sub(g.softplus(scores), g.mul(target, scores)), valid);
    },
  }),
});
