import { holm } from '../../statistics/corrections.ts';
import type { Experiment, Metric } from '../definitions/definition.ts';
import { adjustmentOf, type Comparison, compare, type Estimate, estimate } from './estimates.ts';
import type { Tally } from './tally.ts';

/** Units an arm needs before an effect is concluded: the intervals are for many. */
export const FEWEST = 100;

export interface ArmComparison extends Comparison {
  readonly arm: string;
  /** Always-valid p-value, corrected by Holm over all arms besides control and all metrics. */
  readonly adjustedP: number;
  /** The same for one look at the end. */
  readonly adjustedFixedP: number;
  /** Which way it went, where `adjustedP` is below α and both arms have FEWEST units; else `none`. */
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
  /** Variance reduction by what units did before their first exposure; absent where that says nothing. */
  readonly cuped?: { readonly theta: number; readonly correlation: number; readonly varianceReduction: number };
  readonly arms: readonly (Estimate & { readonly arm: string })[];
  readonly comparisons: readonly ArmComparison[];
}

type Uncorrected = Comparison & { readonly arm: string };
type Draft = Omit<MetricSection, 'comparisons'> & { readonly comparisons: readonly Uncorrected[] };

function draftOf(experiment: Experiment, metric: Metric, i: number, tally: Tally, alpha: number): Draft {
  const ratio = metric.kind === 'ratio';
  const names = experiment.arms.map(({ name }) => name).filter((name) => tally.units(name) > 0);
  const adjustment = adjustmentOf(
    names.map((name) => tally.moments(name, i)),
    ratio,
  );
  // One unit has no variance, and a ratio whose denominator is 0 no value.
  const arms = names
    .map((arm) => ({ arm, ...estimate(tally.moments(arm, i), ratio, adjustment) }))
    .filter(({ value, variance }) => Number.isFinite(value) && Number.isFinite(variance));
  const control = arms.find(({ arm }) => arm === experiment.control);
  const comparisons = arms.flatMap((treatment) => {
    if (!control || treatment === control) return [];
    const comparison = compare(control, treatment, alpha);
    return comparison ? [{ arm: treatment.arm, ...comparison }] : [];
  });
  const { name, kind, direction, numerator, denominator } = metric;
  return {
    ...{ name, kind, direction, primary: i === 0, arms, comparisons },
    ...(numerator === undefined ? {} : { numerator }),
    ...(denominator === undefined ? {} : { denominator }),
    ...(adjustment === undefined
      ? {}
      : {
          cuped: {
            theta: adjustment.theta,
            correlation: adjustment.correlation,
            varianceReduction: adjustment.correlation ** 2,
          },
        }),
  };
}

/** Estimates and comparisons of all metrics, corrected as one family. */
export function metricSections(experiment: Experiment, tally: Tally, alpha: number): readonly MetricSection[] {
  const drafts = experiment.metrics.map((metric, i) => draftOf(experiment, metric, i, tally, alpha));
  const all = drafts.flatMap(({ comparisons }) => comparisons);
  const adjusted = holm(all.map(({ alwaysValid }) => alwaysValid.p));
  const adjustedFixed = holm(all.map(({ fixed }) => fixed.p));
  let at = 0;
  return drafts.map((draft) => ({
    ...draft,
    comparisons: draft.comparisons.map((comparison) => {
      const few = draft.arms.some(({ arm, n }) => (arm === comparison.arm || arm === experiment.control) && n < FEWEST);
      const [adjustedP, adjustedFixedP] = [adjusted[at]!, adjustedFixed[at]!];
      at++;
      const up = comparison.difference > 0 === (draft.direction === 'up');
      return {
        ...comparison,
        adjustedP,
        adjustedFixedP,
        effect: few || adjustedP >= alpha ? 'none' : up ? 'better' : 'worse',
      };
    }),
  }));
}
