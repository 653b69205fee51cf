import type { LiftPoint } from '../../reports/charts/lift-chart.ts';
import type { Experiment } from '../definitions/definition.ts';
import type { ExperimentStore, UnitRow } from '../records.ts';
import type { Comparison } from './estimates.ts';
import type { LiveRead } from './live-figures.ts';
import { metricSections } from './metric-sections.ts';
import { readPeriod, type Since } from './period.ts';
import { ALPHA, BEFORE_MS } from './report-data.ts';
import { Tally } from './tally.ts';

/** The differences of all metrics to control at one time. */
interface SeriesPoint {
  readonly at: number;
  readonly units: number;
  readonly comparisons: readonly (Pick<Comparison, 'difference' | 'lift' | 'fixed' | 'alwaysValid'> & {
    readonly arm: string;
    readonly metric: string;
  })[];
}

export interface Series {
  readonly experiment: string;
  readonly points: readonly SeriesPoint[];
  /** When it was read, milliseconds since 1970, where that was before this request. */
  readonly asOf?: number;
}

interface UnitState {
  readonly arm: string;
  readonly configHash: string;
  readonly before: UnitRow['before'];
  exposures: number;
  readonly sums: Record<string, number>;
}

/** Takes arm and covariates of every unit; units that saw more than one arm are left out. */
async function unitStates(rows: AsyncIterable<UnitRow> | Iterable<UnitRow>): Promise<Map<string, UnitState>> {
  const states = new Map<string, UnitState>();
  for await (const { unit, arm, configHash, before, crossed } of rows)
    if (!crossed) states.set(unit, { arm, configHash, before, exposures: 0, sums: {} });
  return states;
}

function pointOf(
  experiment: Experiment,
  history: ReadonlyMap<string, Experiment>,
  tally: Tally,
  at: number,
): SeriesPoint {
  const comparisons = metricSections(experiment, tally, ALPHA, history).flatMap((section) =>
    section.comparisons.map(({ arm, difference, lift, fixed, alwaysValid }) => ({
      arm,
      metric: section.name,
      difference,
      fixed,
      alwaysValid,
      ...(lift === undefined ? {} : { lift }),
    })),
  );
  return { at, units: experiment.arms.reduce((sum, { name }) => sum + tally.units(name), 0), comparisons };
}

const DAY_MS = 86_400_000;

/** Returns the default end of a series: now, or after an experiment has ended the time by which its last outcomes should have come. */
function endOf(first: number, last: number, now: number): number {
  return Math.min(now, last + Math.max(DAY_MS, 0.1 * (last - first)));
}

export interface SeriesOptions {
  readonly points: number;
  /** Milliseconds since 1970, as is `until`. */
  readonly now: number;
  readonly until?: number | undefined;
  /** When the figures begin, as in a report. */
  readonly since?: Since | undefined;
}

/**
 * Computes the differences of a split experiment at `points` equal steps from its first exposure to `until`. Every exposure and outcome is
 * read once.
 * @param known what is read first, where that is known already; without `until`.
 * @throws the database's error.
 */
export async function seriesOf(
  store: ExperimentStore,
  experiment: Experiment,
  { points, now, ...options }: SeriesOptions,
  known?: LiveRead,
): Promise<Series> {
  const { name } = experiment;
  const { period, history } =
    known?.figures ?? (await readPeriod(store, experiment, { since: options.since, until: options.until ?? now }));
  const { since } = period;
  const traffic = known?.figures.traffic ?? (await store.traffic(name, options.until ?? now, since));
  if (traffic.length === 0 || experiment.mode !== 'split') return { experiment: name, points: [] };
  const first = Math.min(...traffic.map(({ firstAt }) => firstAt));
  const last = Math.max(...traffic.map(({ lastAt }) => lastAt));
  const until = options.until ?? endOf(first, last, now);
  const states = await unitStates(known?.units ?? store.units(name, { since, until, beforeMs: BEFORE_MS }));
  const tally = new Tally(experiment);
  const series: SeriesPoint[] = [];
  let after = first - 1;
  for (let k = 1; k <= points; k++) {
    const at = k === points ? until : first + ((until - first) * k) / points;
    for await (const slice of store.slice(name, { since, after, until: at })) {
      const state = states.get(slice.unit);
      if (!state) continue;
      const known = state.exposures > 0;
      const former = known ? { exposures: state.exposures, sums: { ...state.sums } } : undefined;
      state.exposures += slice.exposures;
      for (const [metric, sum] of Object.entries(slice.sums)) state.sums[metric] = (state.sums[metric] ?? 0) + sum;
      if (state.exposures > 0) tally.change(state, former, state);
    }
    series.push(pointOf(experiment, history, tally, at));
    after = at;
  }
  return { experiment: name, points: series };
}

/** Returns a metric's lifts in percent, with always-valid bounds. Points without a lift, or without any spread yet, are left out. */
export function liftPoints({ points }: Series, metric: string): readonly LiftPoint[] {
  return points.flatMap(({ at, comparisons }) =>
    comparisons.flatMap(({ arm, lift, alwaysValid, metric: of }) => {
      const bounds = alwaysValid.liftInterval;
      if (of !== metric || lift === undefined || !bounds || bounds[0] === bounds[1]) return [];
      return [{ at, arm, lift: 100 * lift, low: 100 * bounds[0], high: 100 * bounds[1] }];
    }),
  );
}
