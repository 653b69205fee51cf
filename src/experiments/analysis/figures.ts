import type { Experiment } from '../definitions/definition.ts';
import type { ArmTraffic, ExperimentStore, UnitRow } from '../records.ts';
import { type PeriodOptions, type PeriodReading, readPeriod } from './period.ts';
import { type FirstExposure, RatioPath } from './ratio-path.ts';
import { BEFORE_MS } from './report-data.ts';
import { Tally } from './tally.ts';
import { NO_LOAD, type UnitLoad, withUnit } from './unit-warnings.ts';

/** What a report counts of units and requests, of any mode. */
export interface Figures extends PeriodReading {
  readonly tally: Tally;
  readonly load: UnitLoad;
  readonly traffic: readonly ArmTraffic[];
  /** Always-valid p-value of the sample ratio of a split experiment; 1 for other modes. */
  readonly ratioP: number;
}

/** Returns the first exposure of a unit; also of one that saw other arms later, because its first arm was assigned like any other. */
export const firstOf = ({ unit, firstAt, firstArm, configHash }: UnitRow): FirstExposure => ({
  unit,
  at: firstAt,
  arm: firstArm,
  configHash,
});

/**
 * Reads all units and requests of an experiment.
 * @param options `until` in milliseconds since 1970; `since` as in a report.
 * @throws the database's error; WinnowError `invalid_field` for a definition without exposures.
 */
export async function readFigures(
  store: ExperimentStore,
  experiment: Experiment,
  options: PeriodOptions = {},
): Promise<Figures> {
  const { name, mode } = experiment;
  const { until } = options;
  const reading = await readPeriod(store, experiment, options);
  const { since } = reading.period;
  const traffic = await store.traffic(name, until, since);
  const tally = new Tally(experiment);
  const firsts: FirstExposure[] = [];
  let load = NO_LOAD;
  for await (const row of store.units(name, { since, until, beforeMs: BEFORE_MS })) {
    tally.add(row);
    load = withUnit(load, row);
    if (mode === 'split') firsts.push(firstOf(row));
  }
  const path = new RatioPath(experiment, reading.history);
  path.add(firsts);
  return { ...reading, tally, load, traffic, ratioP: path.p };
}
