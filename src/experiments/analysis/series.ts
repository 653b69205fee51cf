import type { Experiment } from '../definitions/definition.ts';
import type { ExperimentStore, UnitRow } from '../records.ts';
import type { Comparison } from './estimates.ts';
import { metricSections } from './metrics.ts';
import { ALPHA, BEFORE_MS } from './model.ts';
import { Tally } from './tally.ts';

/** A metric's difference to control as it stood at one time. */
export interface SeriesPoint {
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
}

interface UnitState {
  readonly arm: string;
  readonly before: UnitRow['before'];
  exposures: number;
  readonly sums: Record<string, number>;
}

/** Arm and covariates of every unit; those that saw two arms are left out. */
async function unitStates(store: ExperimentStore, name: string, until: number): Promise<Map<string, UnitState>> {
  const states = new Map<string, UnitState>();
  for await (const { unit, arm, before, crossed } of store.units(name, { until, beforeMs: BEFORE_MS }))
    if (!crossed) states.set(unit, { arm, before, exposures: 0, sums: {} });
  return states;
}

function pointOf(experiment: Experiment, tally: Tally, at: number): SeriesPoint {
  const comparisons = metricSections(experiment, tally, ALPHA).flatMap((section) =>
    section.comparisons.map(({ arm, difference, lift, fixed, alwaysValid }) => ({
      ...{ arm, metric: section.name, difference, fixed, alwaysValid },
      ...(lift === undefined ? {} : { lift }),
    })),
  );
  return { at, units: experiment.arms.reduce((sum, { name }) => sum + tally.units(name), 0), comparisons };
}

const DAY_MS = 86_400_000;

/** Where a series ends if nothing is said: now, or when the last outcomes of an experiment that is over have come. */
function endOf(first: number, last: number, now: number): number {
  return Math.min(now, last + Math.max(DAY_MS, 0.1 * (last - first)));
}

export interface SeriesOptions {
  readonly points: number;
  readonly now: number;
  /** Milliseconds since 1970. */
  readonly until?: number | undefined;
}

/**
 * How the differences of a split experiment developed, at `points` equal steps from its first exposure to `until`. Every exposure and
 * outcome is read once.
 */
export async function seriesOf(
  store: ExperimentStore,
  experiment: Experiment,
  { points, now, ...options }: SeriesOptions,
): Promise<Series> {
  const { name } = experiment;
  const traffic = await store.traffic(name, options.until ?? now);
  if (traffic.length === 0 || experiment.mode !== 'split') return { experiment: name, points: [] };
  const first = Math.min(...traffic.map(({ firstAt }) => firstAt));
  const last = Math.max(...traffic.map(({ lastAt }) => lastAt));
  const until = options.until ?? endOf(first, last, now);
  const states = await unitStates(store, name, until);
  const tally = new Tally(experiment);
  const series: SeriesPoint[] = [];
  let after = first - 1;
  for (let k = 1; k <= points; k++) {
    const at = k === points ? until : first + ((until - first) * k) / points;
    for await (const slice of store.slice(name, { after, until: at })) {
      const state = states.get(slice.unit);
      if (!state) continue;
      const known = state.exposures > 0;
      const from = known ? { exposures: state.exposures, sums: { ...state.sums } } : undefined;
      state.exposures += slice.exposures;
      for (const [metric, sum] of Object.entries(slice.sums)) state.sums[metric] = (state.sums[metric] ?? 0) + sum;
      if (state.exposures > 0) tally.change(state.arm, state.before, from, state);
    }
    series.push(pointOf(experiment, tally, at));
    after = at;
  }
  return { experiment: name, points: series };
}
