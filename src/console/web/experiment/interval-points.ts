import type { Interval } from '../../../experiments/analysis/estimates.ts';
import type { Series } from '../../../experiments/analysis/series.ts';

/** One point of a chart: the effect at that time. NaN before the first informative interval. */
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

const NO_INTERVAL: Interval = [Number.NaN, Number.NaN];

/** Before the first outcomes all units are equal and the interval has no width: it is not an estimate. */
const isInformative = ({ alwaysValid: { interval } }: Series['points'][number]['comparisons'][number]): boolean =>
  interval[0] < interval[1];

/** Returns one arm's effect on one metric over time, relative to control if every point with an effect allows that. */
export function effectSeries(series: Pick<Series, 'points'>, metric: string, arm: string): EffectSeries {
  const found = series.points.map(({ comparisons }) =>
    comparisons.find((c) => c.metric === metric && c.arm === arm && isInformative(c)),
  );
  const known = found.filter((comparison) => comparison !== undefined);
  const relative = known.every(
    ({ lift, alwaysValid, fixed }) => lift !== undefined && alwaysValid.liftInterval && fixed.liftInterval,
  );
  const points = series.points.map(({ at, units }, i): Point => {
    const comparison = found[i];
    if (!comparison) return { at, units, value: Number.NaN, fixed: NO_INTERVAL, alwaysValid: NO_INTERVAL };
    const { difference, lift, fixed, alwaysValid } = comparison;
    return relative
      ? { at, units, value: lift!, fixed: fixed.liftInterval!, alwaysValid: alwaysValid.liftInterval! }
      : { at, units, value: difference, fixed: fixed.interval, alwaysValid: alwaysValid.interval };
  });
  return { relative, points };
}

/**
 * Returns the range of the vertical axis: zero, the latest interval, and earlier ones of at most five times its width. Intervals of the first
 * minutes would flatten the rest of the chart.
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
