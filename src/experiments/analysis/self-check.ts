import { createRandom } from '../../util/random.ts';
import type { Experiment, Metric } from '../definitions/definition.ts';
import type { ExperimentStore } from '../records.ts';
import { adjustmentOf, compare, estimate } from './estimates.ts';
import { Moments } from './moments.ts';
import { readPeriod } from './period.ts';
import { BEFORE_MS } from './report-data.ts';
import { valuesOf } from './tally.ts';

export interface SelfCheck {
  readonly metric: string;
  readonly units: number;
  readonly runs: number;
  /** Share of fake experiments whose fixed-horizon p-value is below α. */
  readonly falsePositives: number;
  /** The range of that share in 95 of 100 checks of a sound analysis. */
  readonly expected: readonly [number, number];
  readonly ok: boolean;
}

/** Values of a metric, three for each unit. */
interface UnitValues {
  readonly count: number;
  readonly values: Float64Array;
}

/** Returns the share of random halvings of the same units whose comparison finds an effect, though there can be none. */
export function falsePositives(
  { count, values }: UnitValues,
  ratio: boolean,
  { runs, seed, alpha }: { readonly runs: number; readonly seed: number; readonly alpha: number },
): number {
  const random = createRandom(seed);
  let found = 0;
  for (let run = 0; run < runs; run++) {
    const arms = [new Moments(), new Moments()] as const;
    for (let i = 0; i < count; i++)
      arms[random.below(2) as 0 | 1].add(values[3 * i]!, values[3 * i + 1]!, values[3 * i + 2]!);
    const adjustment = adjustmentOf(arms, ratio);
    const [a, b] = arms.map((arm) => estimate(arm, ratio, adjustment));
    const comparison = compare(a!, b!, alpha);
    if (comparison && comparison.fixed.p < alpha) found++;
  }
  return found / runs;
}

async function controlValues(store: ExperimentStore, experiment: Experiment, metric: Metric): Promise<UnitValues> {
  const values: number[] = [];
  const { since } = (await readPeriod(store, experiment)).period;
  for await (const row of store.units(experiment.name, { since, beforeMs: BEFORE_MS }))
    if (!row.crossed && row.arm === experiment.control) values.push(...valuesOf(metric, row, row.before));
  return { count: values.length / 3, values: Float64Array.from(values) };
}

/**
 * Checks the analysis on experiments without effect: control's own units, halved at random again and again. A sound analysis finds an effect
 * in a share α of them. A larger share means that units are not independent (a shared account, a robot) and that p-values are too small.
 * @throws the database's error.
 */
export async function selfCheck(
  store: ExperimentStore,
  experiment: Experiment,
  { runs = 1000, seed = 1, alpha = 0.05 } = {},
): Promise<readonly SelfCheck[]> {
  const reach = 1.96 * Math.sqrt((alpha * (1 - alpha)) / runs);
  const expected = [alpha - reach, alpha + reach] as const;
  const checks: SelfCheck[] = [];
  for (const metric of experiment.metrics) {
    const units = await controlValues(store, experiment, metric);
    const share = falsePositives(units, metric.kind === 'ratio', { runs, seed, alpha });
    const ok = share <= expected[1];
    checks.push({ metric: metric.name, units: units.count, runs, falsePositives: share, expected, ok });
  }
  return checks;
}
