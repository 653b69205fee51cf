import type { LossBuilder } from '../../autodiff/check-gradients.ts';
import { float32, type Tensor } from '../../onnx/tensor.ts';
import { createObjective } from './catalog.ts';

/** Lists of a gradient check: two queries with three passages each. */
const QUERIES = 2;
const PASSAGES = 3;
/** Rows of the batch that `objectiveLoss` is made for. */
export const OBJECTIVE_ROWS = QUERIES * PASSAGES;

const list = (values: readonly number[]) => float32([QUERIES, PASSAGES], values);

/** Grades and teacher scores of those lists. */
export const CHECKED_LISTS = {
  relevance: list([1, 0, 0, 1, 0, 0]),
  teacher: list([2.5, 0.7, 1.1, 0.4, 1.9, -0.6]),
} as const;

/** Weights of those lists: of single passages where the objective weighs them, else of whole lists. */
const WEIGHTS = { passages: list([0.5, 2, 0, 1.25, 1, 3]), lists: list([2, 2, 2, 0.5, 0.5, 0.5]) } as const;

/** Returns the weights that an objective is checked with. */
export const checkedWeights = (objective: string): Tensor =>
  WEIGHTS[createObjective(objective).needs.weights ?? 'lists'];

/**
 * Returns the loss of an objective on synthetic lists, for a batch of `OBJECTIVE_ROWS` rows: the first passage of a query is relevant, and
 * the teacher ranks the passages in another order.
 * @throws WinnowError `invalid_input` for an unknown name.
 */
export function objectiveLoss(name: string): LossBuilder {
  const objective = createObjective(name);
  return (g, logits) =>
    objective.build(g, {
      scores: g.reshape(logits, [QUERIES, PASSAGES]),
      relevance: g.constant(CHECKED_LISTS.relevance),
      teacher: g.constant(CHECKED_LISTS.teacher),
      valid: g.constant(list([1, 1, 1, 1, 1, 1])),
      weight: g.constant(checkedWeights(name)),
    });
}
