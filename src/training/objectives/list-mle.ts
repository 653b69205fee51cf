import { z } from 'zod';
import type { GraphBuilder } from '../../onnx/builder.ts';
import {
  first,
  indicator,
  listLogSoftmax,
  listsWith,
  ranks,
  samePlace,
  second,
  validPairs,
  weightedMean,
} from './lists.ts';
import { type LossValues, objectiveKind } from './objective.ts';

const options = z.strictObject({ labels: z.enum(['relevance', 'teacher']).default('relevance') });
type Labels = z.output<typeof options>['labels'];

interface Ordered {
  /** Rank of each passage by its label, 1 = best; equal labels keep the order of the list. */
  readonly rank: string;
  /** −log of the probability that the passage is picked at its rank, from those that are not picked yet. */
  readonly loss: string;
}

/**
 * Plackett-Luce likelihood of the order that the labels give. Entry (i, j) of the pairs is s_j where rank_j ≥ rank_i, else masked, so that row
 * i's softmax is over the passages still to be picked.
 */
function ordered(g: GraphBuilder, values: LossValues, labels: Labels): Ordered {
  const rank = ranks(g, values[labels], values.valid);
  const picked = indicator(g, g.less(second(g, rank), first(g, rank)));
  const open = g.mul(g.sub(g.scalar(1), picked), validPairs(g, values.valid));
  const own = g.mul(listLogSoftmax(g, second(g, values.scores), open), samePlace(g, values.scores));
  return { rank, loss: g.neg(g.reduceSum(own, [2], false)) };
}

const needs = (labels: Labels) =>
  ({ relevance: labels === 'relevance', teacher: labels === 'teacher', weights: 'lists' }) as const;

/**
 * ListMLE (Xia et al., ICML 2008): mean over lists of −Σ_r log(e^{s_(r)} / Σ_{k ≥ r} e^{s_(k)}), where (r) is the passage at rank r by its
 * label. Equal labels keep the order of the list. Labels are grades or the teacher's scores.
 */
export const listMle = objectiveKind({
  name: 'ListMLE',
  summary: 'listwise: likelihood of the order that the labels give',
  options,
  create: ({ labels }) => ({
    name: 'ListMLE',
    needs: needs(labels),
    anchored: false,
    build(g, values) {
      const { loss } = ordered(g, values, labels);
      const own = g.reduceSum(g.mul(loss, values.valid), [1]);
      return weightedMean(g, { loss: own, counted: listsWith(g, values.valid), of: 'lists' }, values);
    },
  }),
});

/**
 * PListMLE, position-aware ListMLE (Lan et al., UAI 2014): the term of rank r has the weight 2^{n − r} − 1, divided by the sum of the list's
 * weights, so that the top ranks count most. Written as 2^{1 − r} − 2^{1 − n}, which stays finite for long lists. A list of one passage
 * has loss 0.
 */
export const pListMle = objectiveKind({
  name: 'PListMLE',
  summary: 'listwise: as ListMLE, the top ranks weigh most',
  options,
  create: ({ labels }) => ({
    name: 'PListMLE',
    needs: needs(labels),
    anchored: false,
    build(g, values) {
      const { rank, loss } = ordered(g, values, labels);
      const halved = (x: string): string => g.exp(g.mul(g.sub(g.scalar(1), x), g.scalar(Math.LN2)));
      const size = g.reduceSum(values.valid, [1]);
      const weight = g.mul(g.op('Max', [g.sub(halved(rank), halved(size)), g.scalar(0)]), values.valid);
      const total = g.op('Max', [g.reduceSum(weight, [1]), g.scalar(1e-12)]);
      const own = g.div(g.reduceSum(g.mul(loss, weight), [1]), total);
      return weightedMean(g, { loss: own, counted: listsWith(g, values.valid), of: 'lists' }, values);
    },
  }),
});
