import type { Recipe } from '../recipe/recipe.ts';

/*
 * Failures of training that raise no error: NaN or infinite numbers, the same score for every pair, and a loss that stays where a model
 * that gives every passage the same score has it.
 */

type Alarm = 'not a number' | 'collapse' | 'stuck';

/** What the guards look at after a step. */
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

/** Consecutive steps that failed each check. */
type Alarms = Readonly<Partial<Record<Alarm, number>>>;

/** Returns the counts after one more step: one higher for each check that failed, absent for the others. */
export function countAlarms(before: Readonly<Record<string, number>>, facts: StepFacts, settings: Settings): Alarms {
  const failed = (Object.keys(CHECKS) as Alarm[]).filter((alarm) => CHECKS[alarm](facts, settings));
  return Object.fromEntries(failed.map((alarm) => [alarm, (before[alarm] ?? 0) + 1]));
}

/**
 * Returns what is wrong and what to do about it, or undefined while nothing is: NaN and infinity count at once, the other checks after
 * `window` consecutive steps.
 */
export function alarmMessage(alarms: Alarms, { window }: Settings): string | undefined {
  if (alarms['not a number'])
    return 'loss, gradients or scores are NaN or infinite; lower the learning rate or check the data';
  if ((alarms.collapse ?? 0) >= window)
    return `scores of a batch have been nearly equal for ${window} steps (collapse); lower the learning rate or warm up longer`;
  if ((alarms.stuck ?? 0) >= window)
    return `the loss has been what equal scores give for ${window} steps; raise the learning rate, or check labels and teacher scores`;
  return undefined;
}
