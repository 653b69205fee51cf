import { type Experiment, type Metric, summedBy } from '../definitions/definition.ts';
import type { UnitRow } from '../records.ts';
import { DENOMINATOR, Moments, NUMERATOR } from './moments.ts';

/** The metric that counts an experiment's requests. */
export const EXPOSURES = 'exposures';

type Counted = Pick<UnitRow, 'exposures' | 'sums'>;

const total = ({ exposures, sums }: Counted, metric: string): number =>
  metric === EXPOSURES ? exposures : (sums[metric] ?? 0);

/** Numerator, denominator and covariate of a unit. */
export function valuesOf(metric: Metric, unit: Counted, before: UnitRow['before']): [number, number, number] {
  return [
    total(unit, summedBy(metric)),
    metric.denominator === undefined ? 1 : total(unit, metric.denominator),
    before[metric.covariate ?? summedBy(metric)] ?? 0,
  ];
}

/** Moments of every metric in every arm, and how many units each has. */
export class Tally {
  readonly #metrics: readonly Metric[];
  readonly #arms: ReadonlyMap<string, readonly Moments[]>;
  /** Units that saw two arms: they say nothing of either. */
  crossed = 0;

  constructor({ arms, metrics }: Pick<Experiment, 'arms' | 'metrics'>) {
    this.#metrics = metrics;
    this.#arms = new Map(arms.map(({ name }) => [name, metrics.map(() => new Moments())]));
  }

  add(row: Pick<UnitRow, 'arm' | 'exposures' | 'sums' | 'before' | 'crossed'>): void {
    if (row.crossed) {
      this.crossed++;
      return;
    }
    this.change(row.arm, row.before, undefined, row);
  }

  /** Replaces what a unit counted for by what it counts for now. */
  change(arm: string, before: UnitRow['before'], from: Counted | undefined, to: Counted): void {
    const moments = this.#arms.get(arm);
    // An arm that is no longer in the definition is not compared.
    if (!moments) return;
    this.#metrics.forEach((metric, i) => {
      if (from) moments[i]!.remove(...valuesOf(metric, from, before));
      moments[i]!.add(...valuesOf(metric, to, before));
    });
  }

  units(arm: string): number {
    return this.#arms.get(arm)?.[0]?.n ?? 0;
  }

  moments(arm: string, metric: number): Moments {
    return this.#arms.get(arm)![metric]!;
  }

  /** Metrics that sums are made of and no unit has an outcome of: likely a name that differs from what is sent. Nothing before there are units. */
  silent(): readonly string[] {
    const seen = [...this.#arms.values()].filter(([first]) => (first?.n ?? 0) > 0);
    if (seen.length === 0) return [];
    const still = (metric: number, value: typeof NUMERATOR | typeof DENOMINATOR) =>
      seen.every((moments) => moments[metric]!.mean(value) === 0);
    return this.#metrics.flatMap((metric, i) => [
      ...(still(i, NUMERATOR) ? [summedBy(metric)] : []),
      ...(metric.denominator !== undefined && still(i, DENOMINATOR) ? [metric.denominator] : []),
    ]);
  }
}
