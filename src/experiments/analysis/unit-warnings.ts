import { percent } from '../../reports/format.ts';
import type { Experiment } from '../definitions/definition.ts';
import type { ArmTraffic, UnitRow } from '../records.ts';

/** A unit is reported if it made at least this many requests, … */
const BUSY_REQUESTS = 50;
/** … this share of all, … */
const BUSY_SHARE = 0.1;
/** … and this many times the mean of the other units. */
const BUSY_TIMES = 10;

/** Share of requests without an id from which they are reported. */
const NAMELESS_SHARE = 0.01;

/** The units of an experiment, and the one that made most requests; of several, the first by name. */
export interface UnitLoad {
  readonly units: number;
  readonly requests: number;
  readonly busiest: { readonly unit: string; readonly requests: number; readonly arm: string };
}

/** The load of no units. */
export const NO_LOAD: UnitLoad = { units: 0, requests: 0, busiest: { unit: '', requests: 0, arm: '' } };

/** Returns the load with one more unit, or with more requests of a unit. @param before the unit as it was counted. */
export function withUnit(
  load: UnitLoad,
  { unit, exposures, arm }: Pick<UnitRow, 'unit' | 'exposures' | 'arm'>,
  before?: Pick<UnitRow, 'exposures'>,
): UnitLoad {
  const { busiest } = load;
  const isBusiest = exposures > busiest.requests || (exposures === busiest.requests && unit <= busiest.unit);
  return {
    units: load.units + (before ? 0 : 1),
    requests: load.requests + exposures - (before?.exposures ?? 0),
    busiest: isBusiest ? { unit, requests: exposures, arm } : busiest,
  };
}

/** Returns a warning where one unit makes so many of the requests that it is hardly one user: an id that many clients share, or a robot. */
export function busyUnit(
  { unit }: Pick<Experiment, 'unit'>,
  { units, requests, busiest }: UnitLoad,
): readonly string[] {
  const share = busiest.requests / requests;
  const others = (requests - busiest.requests) / Math.max(1, units - 1);
  if (busiest.requests < BUSY_REQUESTS || share < BUSY_SHARE || busiest.requests < BUSY_TIMES * others) return [];
  const made = `one unit made ${busiest.requests} of ${requests} requests (${percent(share)})`;
  if (unit === 'query') return [`${made}: a query that is sent very often`];
  return [
    `${made}, in arm ${busiest.arm}: an id that many clients share, or a robot; add such an id to experiments.placeholderIds`,
  ];
}

/** Returns a warning where requests had no id of the kind that the experiment assigns by, and became units by their query. */
export function namelessRequests(
  { unit }: Pick<Experiment, 'unit'>,
  traffic: readonly Pick<ArmTraffic, 'requests' | 'byQuery'>[],
): readonly string[] {
  const sum = (of: 'requests' | 'byQuery') => traffic.reduce((total, arm) => total + arm[of], 0);
  const [requests, nameless] = [sum('requests'), sum('byQuery')];
  if (unit === 'query' || nameless === 0 || nameless < NAMELESS_SHARE * requests) return [];
  return [
    `${nameless} of ${requests} requests (${percent(nameless / requests)}) had no ${unit} id, or one that counts as none: their query is the unit`,
  ];
}
