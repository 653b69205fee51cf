import type { Recipe } from '../recipe/recipe.ts';

/*
 * What goes wrong in training re-rankers without an error: numbers that are none, every pair getting the same score, a loss that stays
 * where a model that gives every passage the same score has it.
 */

export type Alarm = 'not a number' | 'collapse' | 'stuck';

export interface StepFacts {
  readonly loss: number;
  readonly norm: number;
  /** Scores of the real passages of the batch. */
  readonly scores: readonly number[];
  /** The objective's value on this batch when all scores are equal. */
  readonly trivialLoss: number;
}

type Settings = Recipe['guards'];

function deviation(values: readonly number[]): number {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  return Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length);
}

const CHECKS: Readonly<Record<Alarm, (facts: StepFacts, settings: Settings) => boolean>> = {
  'not a number': ({ loss, norm, scores }) => ![loss, norm, ...scores].every(Number.isFinite),
  collapse: ({ scores }, { collapseStd }) => scores.length > 1 && deviation(scores) < collapseStd,
  stuck: ({ loss, trivialLoss }, { stuckTolerance }) =>
    Math.abs(loss - trivialLoss) <= stuckTolerance * Math.abs(trivialLoss),
};

/** Steps in a row each alarm has rung. */
export type Alarms = Readonly<Partial<Record<Alarm, number>>>;

/** The alarms after one more step. */
export function ring(before: Readonly<Record<string, number>>, facts: StepFacts, settings: Settings): Alarms {
  const rung = (Object.keys(CHECKS) as Alarm[]).filter((alarm) => CHECKS[alarm](facts, settings));
  return Object.fromEntries(rung.map((alarm) => [alarm, (before[alarm] ?? 0) + 1]));
}

/** What is to be said now, if anything: at once for numbers that are none, after `window` steps in a row for the rest. */
export function verdict(alarms: Alarms, { window }: Settings): string | undefined {
  if (alarms['not a number'])
    return 'loss, gradients or scores are not numbers; lower the learning rate or look at the data';
  if ((alarms.collapse ?? 0) >= window)
    return `scores of a batch have been nearly equal for ${window} steps (collapse); lower the learning rate or warm up longer`;
  if ((alarms.stuck ?? 0) >= window)
    return `the loss has been what equal scores give for ${window} steps; raise the learning rate, or check labels and teacher scores`;
  return undefined;
}
