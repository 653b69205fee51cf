import type { Arm, Experiment } from '../definitions/definition.ts';
import type { HookRequest } from '../ports.ts';
import { assign, type Plan } from './prepared.ts';
import type { Unit } from './units.ts';

/** Who says which arm a unit belongs to: Winnow's own hash, or a flag system that is there already. */
export interface ArmDecider {
  /**
   * The name of an arm; nothing for a unit outside the experiment. Must give a unit the same arm every time. An answer that is no arm's
   * name counts as nothing.
   */
  decide(question: ArmQuestion): string | undefined | Promise<string | undefined>;
}

export interface ArmQuestion {
  readonly plan: Plan;
  readonly experiment: Experiment;
  readonly unit: Unit;
  readonly request: HookRequest;
}

/** GrowthBook's hash and bucket ranges. */
export const hashDecider: ArmDecider = {
  decide: ({ plan, unit }) => plan.definition.arms[assign(plan, unit.id)]?.name,
};

export const armNamed = ({ arms }: Experiment, name: string | undefined): Arm | undefined =>
  arms.find((arm) => arm.name === name);
