import type { GraphBuilder } from '../../onnx/builder.ts';
import type { LossValues } from './objective.ts';

/** Far below any logit: exp() of it is 0, and sums with it stay finite in float32. */
const MASKED = -1e9;

/** Reshapes [Q, n] to [Q, n, 1]: the first of a pair. */
export const first = (g: GraphBuilder, x: string): string => g.unsqueeze(x, [2]);
/** Reshapes [Q, n] to [Q, 1, n]: the second of a pair. */
export const second = (g: GraphBuilder, x: string): string => g.unsqueeze(x, [1]);

/** x_i − x_j for every pair of a list, [Q, n, n]. */
export const differences = (g: GraphBuilder, x: string): string => g.sub(first(g, x), second(g, x));

/** 1 where both passages of a pair are real, [Q, n, n]. */
export const validPairs = (g: GraphBuilder, valid: string): string => g.mul(first(g, valid), second(g, valid));

/** Casts a bool tensor to 1 and 0. */
export const indicator = (g: GraphBuilder, condition: string): string => g.cast(condition, 'float32');

/** 1 where x > 0, else 0. */
export const positive = (g: GraphBuilder, x: string): string => indicator(g, g.greater(x, g.scalar(0)));

/** Mean of x over the elements whose `counted` is 1, or Σ c·x / Σ c; 0 where none counts. Padding may hold any finite number. */
function meanOver(g: GraphBuilder, x: string, counted: string): string {
  const count = g.op('Max', [g.reduceSum(counted, undefined, false), g.scalar(1e-12)]);
  return g.div(g.reduceSum(g.mul(counted, x), undefined, false), count);
}

/** What the losses of a mean belong to: passages [Q, n], lists [Q, n] or [Q, 1], or pairs [Q, n, n]. */
type LossOf = 'passages' | 'lists' | 'pairs';

/**
 * Mean of weight·x over what counts: Σ c·w·x / Σ c, as PyTorch's losses with `weight` and `reduction="mean"`. The weights are not in the
 * divisor, so that a list of weight 2 pulls twice as hard as one of weight 1 whatever micro-batch it stands in. The weight of lists and pairs is that
 * of the list's first passage; all its passages have the same.
 */
export function weightedMean(
  g: GraphBuilder,
  { loss, counted, of }: { readonly loss: string; readonly counted: string; readonly of: LossOf },
  { weight }: Pick<LossValues, 'weight'>,
): string {
  if (weight === undefined) return meanOver(g, loss, counted);
  const lists = of === 'passages' ? weight : g.slice(weight, [0], [1], [1]);
  return meanOver(g, g.mul(loss, of === 'pairs' ? g.unsqueeze(lists, [2]) : lists), counted);
}

/** log softmax over the last axis, of the places whose `valid` is 1 (real passages of a list); the others get about −1e9. */
export function listLogSoftmax(g: GraphBuilder, x: string, valid: string): string {
  return g.logSoftmax(g.add(x, g.mul(g.sub(g.scalar(1), valid), g.scalar(MASKED))), -1);
}

/** 1 for lists with a real passage of the given weight, [Q, 1]. */
export function listsWith(g: GraphBuilder, weight: string): string {
  return positive(g, g.reduceSum(weight, [1]));
}

/** Places of a list, 0 … n − 1, as [1, n] and [n, 1]. */
function places(g: GraphBuilder, x: string): readonly [string, string] {
  const n = g.squeeze(g.slice(g.shape(x), [1], [2], [0]), [0]);
  const zero = g.squeeze(g.ints([0]), [0]);
  const one = g.squeeze(g.ints([1]), [0]);
  const all = g.op('Range', [zero, n, one]);
  return [g.unsqueeze(all, [0]), g.unsqueeze(all, [1])];
}

/** 1 where j stands before i in the list, [n, n]; breaks ties. */
const earlier = (g: GraphBuilder, x: string): string => indicator(g, g.less(...places(g, x)));

/** 1 where i and j are the same passage, [n, n]. */
export const samePlace = (g: GraphBuilder, x: string): string => indicator(g, g.equal(...places(g, x)));

/** Ranks of equal scores: by place in the list, or their mean. */
type Ties = 'order' | 'average';

/**
 * Rank of each passage by descending x, 1 = best, [Q, n]. Ranks are constants of the step: comparisons have no gradient.
 */
export function ranks(g: GraphBuilder, x: string, valid: string, ties: Ties = 'order'): string {
  const above = indicator(g, g.greater(second(g, x), first(g, x)));
  const tied = indicator(g, g.equal(second(g, x), first(g, x)));
  // A passage ties with itself, which adds half a rank to the average.
  const share = ties === 'order' ? g.mul(tied, earlier(g, x)) : g.mul(tied, g.scalar(0.5));
  const counted = g.reduceSum(g.mul(g.add(above, share), second(g, valid)), [2], false);
  return g.add(counted, ties === 'order' ? g.scalar(1) : g.scalar(0.5));
}

/** 1 where i is relevant and j is not, both real, [Q, n, n]. */
export function relevantPairs(g: GraphBuilder, values: LossValues): string {
  const y = positive(g, values.relevance);
  const other = g.sub(g.scalar(1), y);
  return g.mul(g.mul(first(g, y), second(g, other)), validPairs(g, values.valid));
}
