import { type Experiment, type Metric, summedBy } from '../definitions/definition.ts';
import type { UnitRow } from '../records.ts';
import { DENOMINATOR, Moments, NUMERATOR } from './moments.ts';

/** The metric that counts an experiment's requests. */
const EXPOSURES = 'exposures';

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
  readonly #arms: ReadonlyMap<string, readonly Moments[]>;
  /** Units by the definition of their first exposure, then by its arm; also those that saw another arm later. */
  readonly #firsts = new Map<string, Map<string, number>>();
  /** Units that saw more than one arm: they are left out of every arm. */
  crossed = 0;

  constructor({ arms, metrics }: Pick<Experiment, 'arms' | 'metrics'>) {
    this.#metrics = metrics;
    this.#arms = new Map(arms.map(({ name }) => [name, metrics.map(() => new Moments())]));
  }

  add(row: UnitRow): void {
    this.#count(row, 1);
    if (!row.crossed) this.change(row.arm, row.before, undefined, row);
  }

  /** Takes out a unit that was added with this row. */
  remove(row: UnitRow): void {
    this.#count(row, -1);
    const moments = row.crossed ? undefined : this.#arms.get(row.arm);
    if (!moments) return;
    this.#metrics.forEach((metric, i) => {
      moments[i]!.remove(...valuesOf(metric, row, row.before));
    });
  }

  #count({ crossed, configHash, firstArm }: UnitRow, by: 1 | -1): void {
    if (crossed) this.crossed += by;
    const firsts = this.#firsts.get(configHash) ?? new Map<string, number>();
    firsts.set(firstArm, (firsts.get(firstArm) ?? 0) + by);
    this.#firsts.set(configHash, firsts);
  }

  /** Replaces a unit's former counts, where it had any, by its present ones. */
  change(arm: string, before: UnitRow['before'], from: Counted | undefined, to: Counted): void {
    const moments = this.#arms.get(arm);
    // An arm that is no longer in the definition is not counted.
    if (!moments) return;
    this.#metrics.forEach((metric, i) => {
      if (from) moments[i]!.remove(...valuesOf(metric, from, before));
      moments[i]!.add(...valuesOf(metric, to, before));
    });
  }

  units(arm: string): number {
    return this.#arms.get(arm)?.[0]?.n ?? 0;
  }

  /** Returns how many units of each arm were first exposed under each definition, by `configHash`. */
  get firsts(): ReadonlyMap<string, ReadonlyMap<string, number>> {
    return this.#firsts;
  }

  moments(arm: string, metric: number): Moments {
    return this.#arms.get(arm)![metric]!;
  }

  /**
   * Returns the metrics that are summed and have no outcomes: often their name differs from the one that clients send. Empty while there are
   * no units.
   */
  withoutOutcomes(): readonly string[] {
    const seen = [...this.#arms.values()].filter(([first]) => (first?.n ?? 0) > 0);
    if (seen.length === 0) return [];
    const isZero = (metric: number, value: typeof NUMERATOR | typeof DENOMINATOR) =>
      seen.every((moments) => moments[metric]!.mean(value) === 0);
    return this.#metrics.flatMap((metric, i) => [
      ...(isZero(i, NUMERATOR) ? [summedBy(metric)] : []),
      ...(metric.denominator !== undefined && isZero(i, DENOMINATOR) ? [metric.denominator] : []),
    ]);
  }
}
