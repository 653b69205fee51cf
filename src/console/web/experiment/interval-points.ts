import type { Interval } from '../../../experiments/analysis/estimates.ts';
import type { Series } from '../../../experiments/analysis/series.ts';

/** One point of a chart: the effect as it stood then. NaN where nothing could be said yet. */
export interface Point {
  readonly at: number;
  readonly units: number;
  readonly value: number;
  readonly fixed: Interval;
  readonly alwaysValid: Interval;
}

export interface EffectSeries {
  /** Whether values are shares of control (lift) or differences in the metric's own unit. */
  readonly relative: boolean;
  readonly points: readonly Point[];
}

const NOTHING: Interval = [Number.NaN, Number.NaN];

/** Where no unit differs from another, as before the first outcomes, an interval of no width promises what nobody knows. */
const saysSomething = ({ alwaysValid: { interval } }: Series['points'][number]['comparisons'][number]): boolean =>
  interval[0] < interval[1];

/** The course of one arm's effect on one metric. Relative to control where that can be said at every point with an effect. */
export function effectSeries(series: Pick<Series, 'points'>, metric: string, arm: string): EffectSeries {
  const found = series.points.map(({ comparisons }) =>
    comparisons.find((c) => c.metric === metric && c.arm === arm && saysSomething(c)),
  );
  const known = found.filter((comparison) => comparison !== undefined);
  const relative = known.every(
    ({ lift, alwaysValid, fixed }) => lift !== undefined && alwaysValid.liftInterval && fixed.liftInterval,
  );
  const points = series.points.map(({ at, units }, i): Point => {
    const comparison = found[i];
    if (!comparison) return { at, units, value: Number.NaN, fixed: NOTHING, alwaysValid: NOTHING };
    const { difference, lift, fixed, alwaysValid } = comparison;
    return relative
      ? { at, units, value: lift!, fixed: fixed.liftInterval!, alwaysValid: alwaysValid.liftInterval! }
      : { at, units, value: difference, fixed: fixed.interval, alwaysValid: alwaysValid.interval };
  });
  return { relative, points };
}

/**
 * What the vertical axis shows: zero, the latest interval, and the earlier ones as long as they are not wider than five times the latest.
 * Intervals of the first minutes would flatten all that follows.
 */
export function verticalRange(points: readonly Point[]): Interval {
  const finite = points.filter(({ alwaysValid }) => alwaysValid.every(Number.isFinite));
  const last = finite.at(-1)?.alwaysValid;
  if (!last) return [-1, 1];
  const width = Math.max(last[1] - last[0], 1e-9);
  const shown = finite.map(({ alwaysValid }) => alwaysValid).filter(([low, high]) => high - low <= 5 * width);
  const low = Math.min(0, ...shown.map(([l]) => l));
  const high = Math.max(0, ...shown.map(([, h]) => h));
  const margin = 0.05 * (high - low);
  return [low - margin, high + margin];
}
