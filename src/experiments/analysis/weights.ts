import type { Experiment } from '../definitions/definition.ts';

/**
 * Returns the shares that a definition gives to the arms that are still there, in the order of the present definition. They sum to 1.
 * @param history definitions by `configHash`; one that is not known counts as the present one.
 * @returns nothing where the definition has none of these arms.
 */
export function sharesUnder(
  configHash: string,
  experiment: Pick<Experiment, 'arms'>,
  history: ReadonlyMap<string, Pick<Experiment, 'arms'>>,
): readonly number[] | undefined {
  const then = (history.get(configHash) ?? experiment).arms;
  const weights = experiment.arms.map(({ name }) => then.find((arm) => arm.name === name)?.weight ?? 0);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return total === 0 ? undefined : weights.map((weight) => weight / total);
}

/** Units of an arm by their first exposure. */
interface PlannedArm {
  readonly name: string;
  readonly units: number;
  /** Units that the arm should have by the weights in force at each unit's first exposure. */
  readonly weight: number;
}

/**
 * Counts the units of each arm, and how many it should have. Each unit is expected by the weights that were in force when it was first exposed,
 * so that a change of weights is not read as a loss of units.
 * @param firsts units by definition (`configHash`) of their first exposure, then by arm.
 * @param history definitions by `configHash`.
 */
export function plannedArms(
  experiment: Pick<Experiment, 'arms'>,
  firsts: ReadonlyMap<string, ReadonlyMap<string, number>>,
  history: ReadonlyMap<string, Experiment>,
): readonly PlannedArm[] {
  const planned = experiment.arms.map(({ name }) => ({ name, units: 0, weight: 0 }));
  for (const [hash, byArm] of firsts) {
    const shares = sharesUnder(hash, experiment, history);
    if (!shares) continue;
    const counts = planned.map(({ name }) => byArm.get(name) ?? 0);
    const total = counts.reduce((sum, count) => sum + count, 0);
    for (const [i, arm] of planned.entries()) {
      arm.units += counts[i]!;
      arm.weight += total * shares[i]!;
    }
  }
  return planned;
}

/**
 * Groups definitions by the relative weights that they give the arms that are still there. Units of one group may be compared with each
 * other: their arms had the same shares at the same time.
 */
export function weightGroups(
  experiment: Experiment,
  configHashes: readonly string[],
  history: ReadonlyMap<string, Experiment>,
): readonly (readonly string[])[] {
  const keyOf = (hash: string): string =>
    (sharesUnder(hash, experiment, history) ?? []).map((share) => share.toPrecision(9)).join(' ');
  return [...Map.groupBy(configHashes, keyOf).values()];
}
