import { type Experiment, type Metric, summedBy } from '../definitions/definition.ts';
import type { UnitRow } from '../records.ts';
import { DENOMINATOR, Moments, NUMERATOR } from './moments.ts';

/** The metric that counts an experiment's requests. */
const EXPOSURES = 'exposures';

/** What does not change about a unit. */
type CountedUnit = Pick<UnitRow, 'arm' | 'configHash' | 'before'>;
type Counted = Pick<UnitRow, 'exposures' | 'sums'>;

const total = ({ exposures, sums }: Counted, metric: string): number =>
  metric === EXPOSURES ? exposures : (sums[metric] ?? 0);

/** Returns numerator, denominator and covariate of a unit. */
export function valuesOf(metric: Metric, unit: Counted, before: UnitRow['before']): [number, number, number] {
  return [
    total(unit, summedBy(metric)),
    metric.denominator === undefined ? 1 : total(unit, metric.denominator),
    before[metric.covariate ?? summedBy(metric)] ?? 0,
  ];
}

/** The moments of every metric in every arm, and how many units each has. */
export class Tally {
  readonly #metrics: readonly Metric[];
  /** By arm, then by the definition of the first exposure (`configHash`), one for each metric. */
  readonly #arms: ReadonlyMap<string, Map<string, readonly Moments[]>>;
  /** Units by the definition of their first exposure, then by its arm; also those that saw another arm later. */
  readonly #firsts = new Map<string, Map<string, number>>();
  /** Units that saw more than one arm: they are left out of every arm. */
  crossed = 0;

  constructor({ arms, metrics }: Pick<Experiment, 'arms' | 'metrics'>) {
    this.#metrics = metrics;
    this.#arms = new Map(arms.map(({ name }) => [name, new Map()]));
  }

  add(row: UnitRow): void {
    this.#count(row, 1);
    if (!row.crossed) this.change(row, undefined, row);
  }

  /** Takes out a unit that was added with this row. */
  remove(row: UnitRow): void {
    this.#count(row, -1);
    if (!row.crossed) this.change(row, row, undefined);
  }

  #count({ crossed, configHash, firstArm }: UnitRow, by: 1 | -1): void {
    if (crossed) this.crossed += by;
    const firsts = this.#firsts.get(configHash) ?? new Map<string, number>();
    firsts.set(firstArm, (firsts.get(firstArm) ?? 0) + by);
    this.#firsts.set(configHash, firsts);
  }

  /** Replaces a unit's former counts, where it had any, by its present ones, where it has any. */
  change(unit: CountedUnit, from: Counted | undefined, to: Counted | undefined): void {
    const { before } = unit;
    const moments = this.#of(unit);
    // An arm that is no longer in the definition is not counted.
    if (!moments) return;
    this.#metrics.forEach((metric, i) => {
      if (from) moments[i]!.remove(...valuesOf(metric, from, before));
      if (to) moments[i]!.add(...valuesOf(metric, to, before));
    });
  }

  #of({ arm, configHash }: Pick<UnitRow, 'arm' | 'configHash'>): readonly Moments[] | undefined {
    const byHash = this.#arms.get(arm);
    const moments = byHash?.get(configHash) ?? this.#metrics.map(() => new Moments());
    byHash?.set(configHash, moments);
    return byHash && moments;
  }

  units(arm: string): number {
    return [...(this.#arms.get(arm)?.values() ?? [])].reduce((sum, [first]) => sum + first!.n, 0);
  }

  /** Returns how many units of each arm were first exposed under each definition, by `configHash`. */
  get firsts(): ReadonlyMap<string, ReadonlyMap<string, number>> {
    return this.#firsts;
  }

  /** @param configHashes only units that were first exposed under these definitions. */
  moments(arm: string, metric: number, configHashes?: readonly string[]): Moments {
    const found = [...this.#arms.get(arm)!].filter(([hash]) => configHashes?.includes(hash) ?? true);
    if (found.length === 1) return found[0]![1][metric]!;
    const all = new Moments();
    for (const [, moments] of found) all.absorb(moments[metric]!);
    return all;
  }

  /**
   * Returns the metrics that are summed and have no outcomes: often their name differs from the one that clients send. Empty while there are
   * no units.
   */
  withoutOutcomes(): readonly string[] {
    const seen = [...this.#arms.values()].flatMap((byHash) => [...byHash.values()]).filter(([first]) => first!.n > 0);
    if (seen.length === 0) return [];
    const isZero = (metric: number, value: typeof NUMERATOR | typeof DENOMINATOR) =>
      seen.every((moments) => moments[metric]!.mean(value) === 0);
    return this.#metrics.flatMap((metric, i) => [
      ...(isZero(i, NUMERATOR) ? [summedBy(metric)] : []),
      ...(metric.denominator !== undefined && isZero(i, DENOMINATOR) ? [metric.denominator] : []),
    ]);
  }
}
