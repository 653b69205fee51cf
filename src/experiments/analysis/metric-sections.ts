import { holm } from '../../statistics/corrections.ts';
import type { Experiment, Metric } from '../definitions/definition.ts';
import { type Adjustment, adjustmentOf, type Comparison, compare, type Estimate, estimate } from './estimates.ts';
import type { Tally } from './tally.ts';

/** Units an arm needs before an effect is concluded: the intervals hold for many units. */
export const MIN_UNITS = 100;

export interface ArmComparison extends Comparison {
  readonly arm: string;
  /** Always-valid p-value, corrected by Holm over all metrics and all arms other than control. */
  readonly adjustedP: number;
  /** The same for one look at the end. */
  readonly adjustedFixedP: number;
  /** The effect on the metric, where `adjustedP` is below α and both arms have MIN_UNITS units; else `none`. */
  readonly effect: 'better' | 'worse' | 'none';
}

export interface MetricSection {
  readonly name: string;
  readonly kind: Metric['kind'];
  readonly direction: Metric['direction'];
  readonly numerator?: string;
  readonly denominator?: string;
  /** The first metric decides. */
  readonly primary: boolean;
  /** Variance reduction by what units did before their first exposure; absent where that explains nothing. */
  readonly cuped?: { readonly theta: number; readonly correlation: number; readonly varianceReduction: number };
  readonly arms: readonly (Estimate & { readonly arm: string })[];
  readonly comparisons: readonly ArmComparison[];
}

/** A section whose p-values are not corrected yet. */
interface UncorrectedSection extends Omit<MetricSection, 'comparisons'> {
  readonly comparisons: readonly (Comparison & { readonly arm: string })[];
}

/** Estimates a metric in every arm. One unit has no variance, and a ratio whose denominator is 0 has no value: such arms are left out. */
function estimateArms(experiment: Experiment, metric: Metric, i: number, tally: Tally) {
  const ratio = metric.kind === 'ratio';
  const names = experiment.arms.map(({ name }) => name).filter((name) => tally.units(name) > 0);
  const adjustment = adjustmentOf(
    names.map((name) => tally.moments(name, i)),
    ratio,
  );
  const arms = names
    .map((arm) => ({ arm, ...estimate(tally.moments(arm, i), ratio, adjustment) }))
    .filter(({ value, variance }) => Number.isFinite(value) && Number.isFinite(variance));
  return { arms, adjustment };
}

function cupedOf({ theta, correlation }: Adjustment): NonNullable<MetricSection['cuped']> {
  return { theta, correlation, varianceReduction: correlation ** 2 };
}

/** @param i place of the metric in the experiment. */
function uncorrectedSection(
  experiment: Experiment,
  metric: Metric,
  i: number,
  tally: Tally,
  alpha: number,
): UncorrectedSection {
  const { arms, adjustment } = estimateArms(experiment, metric, i, tally);
  const control = arms.find(({ arm }) => arm === experiment.control);
  const comparisons = arms.flatMap((treatment) => {
    if (!control || treatment === control) return [];
    const comparison = compare(control, treatment, alpha);
    return comparison ? [{ arm: treatment.arm, ...comparison }] : [];
  });
  const { name, kind, direction, numerator, denominator } = metric;
  return {
    name,
    kind,
    direction,
    primary: i === 0,
    arms,
    comparisons,
    ...(numerator === undefined ? {} : { numerator }),
    ...(denominator === undefined ? {} : { denominator }),
    ...(adjustment === undefined ? {} : { cuped: cupedOf(adjustment) }),
  };
}

/** Estimates all metrics and compares the arms; the p-values of all comparisons are corrected as one family. */
export function metricSections(experiment: Experiment, tally: Tally, alpha: number): readonly MetricSection[] {
  const sections = experiment.metrics.map((metric, i) => uncorrectedSection(experiment, metric, i, tally, alpha));
  const all = sections.flatMap(({ comparisons }) => comparisons);
  const adjusted = holm(all.map(({ alwaysValid }) => alwaysValid.p));
  const adjustedFixed = holm(all.map(({ fixed }) => fixed.p));
  let at = 0;
  return sections.map((section) => ({
    ...section,
    comparisons: section.comparisons.map((comparison) => {
      const isTooFew = section.arms.some(
        ({ arm, n }) => (arm === comparison.arm || arm === experiment.control) && n < MIN_UNITS,
      );
      const [adjustedP, adjustedFixedP] = [adjusted[at]!, adjustedFixed[at]!];
      at++;
      const isBetter = comparison.difference > 0 === (section.direction === 'up');
      return {
        ...comparison,
        adjustedP,
        adjustedFixedP,
        effect: isTooFew || adjustedP >= alpha ? 'none' : isBetter ? 'better' : 'worse',
      };
    }),
  }));
}
