import type { Arm, Experiment } from '../definitions/definition.ts';
import type { HookRequest } from '../ports.ts';
import { assign, type PreparedExperiment } from './prepared-experiment.ts';
import type { Unit } from './units.ts';

/** Assigns units to arms: Winnow's own hash, or a flag system that is there already. */
export interface ArmDecider {
  /**
   * Returns the name of an arm; nothing for a unit outside the experiment. A unit must get the same arm every time. An answer that is no
   * arm's name counts as nothing.
   */
  decide(question: ArmQuestion): string | undefined | Promise<string | undefined>;
}

export interface ArmQuestion {
  readonly prepared: PreparedExperiment;
  readonly experiment: Experiment;
  readonly unit: Unit;
  readonly request: HookRequest;
}

/** Decides by GrowthBook's hash and bucket ranges. */
export const hashDecider: ArmDecider = {
  decide: ({ prepared, experiment, unit }) => experiment.arms[assign(prepared, unit.id)]?.name,
};

/** Returns the arm of a name, if the experiment has one. */
export const armNamed = ({ arms }: Experiment, name: string | undefined): Arm | undefined =>
  arms.find((arm) => arm.name === name);
