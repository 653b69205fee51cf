import type { Experiment } from '../definitions/definition.ts';

/** Units that were first exposed while the arms had the same relative weights: what a sample ratio is expected for. */
export interface Phase {
  /** `configHash` of the definitions of the phase. Their differences do not change weights. */
  readonly configHashes: readonly string[];
  /** Share of units that each arm of the present definition should have got; 0 for one that was not there yet. They sum to 1. */
  readonly shares: ReadonlyMap<string, number>;
  /** Distinct units by the arm of their first exposure. */
  readonly units: ReadonlyMap<string, number>;
  readonly total: number;
}

/** Returns the shares that a definition gives to the arms that are still there; nothing where none is. */
export function sharesOf(
  { arms }: Pick<Experiment, 'arms'>,
  names: readonly string[],
): ReadonlyMap<string, number> | undefined {
  const weights = names.map((name) => arms.find((arm) => arm.name === name)?.weight ?? 0);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return total === 0 ? undefined : new Map(names.map((name, i) => [name, weights[i]! / total]));
}

const keyOf = (shares: ReadonlyMap<string, number>): string =>
  [...shares.values()].map((share) => share.toPrecision(9)).join(' ');

/**
 * Groups units by the weights that were in force when each was first exposed, so that a change of weights is not read as a loss of units.
 * @param firsts units by definition (`configHash`) of their first exposure, then by arm.
 * @param history definitions by `configHash`; one that is not known counts as the present one.
 * @returns phases with at least one unit.
 */
export function phasesOf(
  experiment: Experiment,
  firsts: ReadonlyMap<string, ReadonlyMap<string, number>>,
  history: ReadonlyMap<string, Experiment>,
): readonly Phase[] {
  const names = experiment.arms.map(({ name }) => name);
  const groups = new Map<
    string,
    { shares: ReadonlyMap<string, number>; hashes: string[]; units: Map<string, number> }
  >();
  for (const [hash, byArm] of firsts) {
    const shares = sharesOf(history.get(hash) ?? experiment, names);
    if (!shares) continue;
    const key = keyOf(shares);
    const group = groups.get(key) ?? { shares, hashes: [], units: new Map(names.map((name) => [name, 0])) };
    groups.set(key, group);
    group.hashes.push(hash);
    for (const name of names) group.units.set(name, group.units.get(name)! + (byArm.get(name) ?? 0));
  }
  return [...groups.values()].flatMap(({ shares, hashes, units }) => {
    const total = [...units.values()].reduce((sum, count) => sum + count, 0);
    return total === 0 ? [] : [{ configHashes: hashes, shares, units, total }];
  });
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
  const names = experiment.arms.map(({ name }) => name);
  return [
    ...Map.groupBy(configHashes, (hash) =>
      keyOf(sharesOf(history.get(hash) ?? experiment, names) ?? new Map()),
    ).values(),
  ];
}

/** Whether some definitions give the arms that are still there the same relative weights. */
export function haveSameWeights(
  experiment: Experiment,
  configHashes: readonly string[],
  history: ReadonlyMap<string, Experiment>,
): boolean {
  return weightGroups(experiment, configHashes, history).length <= 1;
}

/** Returns how many units each arm should have, over all phases. */
export function expectedUnits(phases: readonly Phase[], arm: string): number {
  return phases.reduce((sum, { shares, total }) => sum + total * (shares.get(arm) ?? 0), 0);
}
