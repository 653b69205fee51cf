import { z } from 'zod';
import { weightedMean } from './lists.ts';
import { objectiveKind } from './objective.ts';

/**
 * Binary cross-entropy with logits: mean over passages of (1 − y)·s + (1 + (w − 1)·y)·softplus(−s), y = 1 for relevant passages (arXiv
 * 2603.03010), w = `posWeight`, as in PyTorch's BCEWithLogitsLoss; for w = 1 it is softplus(s) − y·s. A soft label is the target itself, as in
 * sentence-transformers' BinaryCrossEntropyLoss. `labelSmoothing` ε moves every target towards ½: y·(1 − ε) + ε/2 (Szegedy et al., CVPR 2016).
 */
export const bce = objectiveKind({
  name: 'BCE',
  summary: 'pointwise: is this passage relevant?',
  options: z.strictObject({
    posWeight: z.number().positive().default(1),
    labelSmoothing: z.number().min(0).max(1).default(0),
  }),
  create: ({ posWeight, labelSmoothing }) => ({
    name: 'BCE',
    needs: { relevance: true, teacher: false, labels: 'target', weights: 'passages' },
    anchored: true,
    build(g, values) {
      const { scores, relevance, valid } = values;
      const mean = (loss: string): string => weightedMean(g, { loss, counted: valid, of: 'passages' }, values);
      const label = g.op('Min', [relevance, g.scalar(1)]);
      const target =
        labelSmoothing === 0 ? label : g.add(g.mul(label, g.scalar(1 - labelSmoothing)), g.scalar(labelSmoothing / 2));
      if (posWeight === 1) return mean(g.sub(g.softplus(scores), g.mul(target, scores)));
      const against = g.mul(g.sub(g.scalar(1), target), scores);
      const weight = g.add(g.scalar(1), g.mul(target, g.scalar(posWeight - 1)));
      return mean(g.add(against, g.mul(weight, g.softplus(g.neg(scores)))));
    },
  }),
});
