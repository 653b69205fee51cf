import { metricSections } from '../../src/experiments/analysis/metric-sections.ts';
import { ALPHA } from '../../src/experiments/analysis/report-data.ts';
import { Tally } from '../../src/experiments/analysis/tally.ts';
import type { Experiment } from '../../src/experiments/definitions/definition.ts';
import type { Exposure, Outcome, UnitRow } from '../../src/experiments/records.ts';
import { goodnessOfFit } from '../../src/statistics/chi-square.ts';

/*
 * How reports read the log before they followed order, keys, definitions and weights, for comparison: outcomes are placed by their time, keys
 * count over all metrics, all definitions are mixed, and units are expected by the present weights.
 */

const add = (sums: Record<string, number>, metric: string, value: number): void => {
  sums[metric] = (sums[metric] ?? 0) + value;
};

function formerRows(exposures: readonly Exposure[], outcomes: readonly Outcome[]): readonly UnitRow[] {
  const unitOf = new Map(exposures.map(({ requestId, unit }) => [requestId, unit]));
  const byKey = new Map(outcomes.toReversed().map((outcome) => [outcome.key, outcome]));
  const byUnit = Map.groupBy(byKey.values(), ({ requestId = '', unit }) => unitOf.get(requestId) ?? unit ?? '');
  return [...Map.groupBy(exposures, ({ unit }) => unit)].map(([unit, seen]) => {
    const [sums, before]: [Record<string, number>, Record<string, number>] = [{}, {}];
    const firstAt = Math.min(...seen.map(({ at }) => at));
    for (const { metric, value, at } of byUnit.get(unit) ?? []) {
      add(sums, metric, value);
      if (at < firstAt) add(before, metric, value);
    }
    const { arm, configHash } = seen[0]!;
    const crossed = seen.some((one) => one.arm !== arm);
    return { unit, arm, firstArm: arm, firstAt, configHash, exposures: seen.length, sums, before, crossed };
  });
}

/** Returns the verdict that the same log had before: `win`, `loss`, `open` or `sample_ratio`. */
export function formerVerdict(
  experiment: Experiment,
  exposures: readonly Exposure[],
  outcomes: readonly Outcome[],
): string {
  const tally = new Tally(experiment);
  for (const row of formerRows(exposures, outcomes)) tally.add(row);
  const units = experiment.arms.map(({ name }) => tally.units(name));
  const weights = experiment.arms.map(({ weight }) => weight);
  if (goodnessOfFit(units, weights).p < 0.001) return 'sample_ratio';
  const effects = metricSections(experiment, tally, ALPHA).map(({ comparisons }) => comparisons[0]?.effect);
  if (effects.includes('worse')) return 'loss';
  return effects[0] === 'better' ? 'win' : 'open';
}
