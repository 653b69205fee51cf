import type { Experiment } from '../definitions/definition.ts';
import { definitionHistory } from '../definitions/history.ts';
import type { ArmTraffic, AuditEntry, ExperimentStore, UnitRow } from '../records.ts';
import { type Period, periodOf, type Since } from './period.ts';
import { type FirstExposure, RatioPath } from './ratio-path.ts';
import { BEFORE_MS } from './report-data.ts';
import { Tally } from './tally.ts';
import { NO_LOAD, type UnitLoad, withUnit } from './unit-warnings.ts';

/** What a report counts of units and requests, of any mode. */
export interface Figures {
  /** Of the experiment, oldest first. */
  readonly audits: readonly AuditEntry[];
  /** Definitions by `configHash`. */
  readonly history: ReadonlyMap<string, Experiment>;
  readonly period: Period;
  readonly tally: Tally;
  readonly load: UnitLoad;
  readonly traffic: readonly ArmTraffic[];
  /** Always-valid p-value of the sample ratio. */
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
  options: { readonly since?: Since | undefined; readonly until?: number | undefined },
): Promise<Figures> {
  const { name } = experiment;
  const { until } = options;
  const period = await periodOf(store, experiment, options);
  const { since } = period;
  const [audits, traffic] = await Promise.all([store.audits(name), store.traffic(name, until, since)]);
  const history = definitionHistory(audits, experiment);
  const tally = new Tally(experiment);
  const firsts: FirstExposure[] = [];
  let load = NO_LOAD;
  const counted = { ...(since === undefined ? {} : { since }), ...(until === undefined ? {} : { until }) };
  for await (const row of store.units(name, { ...counted, beforeMs: BEFORE_MS })) {
    tally.add(row);
    load = withUnit(load, row);
    firsts.push(firstOf(row));
  }
  const path = new RatioPath(experiment, history);
  path.add(firsts);
  return { audits, history, period, tally, load, traffic, ratioP: path.p };
}
