import { holm } from '../../statistics/corrections.ts';
import type { Experiment, Metric } from '../definitions/definition.ts';
import { type Adjustment, adjustmentOf, type Comparison, compare, type Estimate, estimate } from './estimates.ts';
import { type MomentsView, stratified } from './strata.ts';
import type { Tally } from './tally.ts';
import { weightGroups } from './weights.ts';

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

/** The moments of an arm and those of control that it is compared with. */
interface Pair {
  readonly arm: string;
  readonly own: MomentsView;
  readonly control: MomentsView;
}

/** Pairs every arm that has units with control; stratum by stratum where weights have changed. */
function pairsOf(
  { arms, control }: Experiment,
  i: number,
  tally: Tally,
  groups: readonly (readonly string[])[],
): readonly Pair[] {
  const names = arms.map(({ name }) => name).filter((name) => name !== control && tally.units(name) > 0);
  if (groups.length < 2)
    return names.map((arm) => ({ arm, own: tally.moments(arm, i), control: tally.moments(control, i) }));
  const strata = (arm: string) => groups.map((hashes) => tally.moments(arm, i, hashes));
  return names.flatMap((arm) => {
    const pair = stratified(strata(control), strata(arm));
    return pair ? [{ arm, own: pair[1], control: pair[0] }] : [];
  });
}

const isKnown = ({ value, variance }: Estimate) => Number.isFinite(value) && Number.isFinite(variance);

/**
 * Estimates a metric in every arm and compares the arms with control. One unit has no variance, and a ratio whose denominator is 0 has no
 * value: such arms are left out.
 */
function estimateArms(
  experiment: Experiment,
  { metric, i, alpha }: { readonly metric: Metric; readonly i: number; readonly alpha: number },
  tally: Tally,
  groups: readonly (readonly string[])[],
) {
  const ratio = metric.kind === 'ratio';
  const { control, arms } = experiment;
  const names = arms.map(({ name }) => name).filter((name) => tally.units(name) > 0);
  const strata = groups.length < 2 ? [undefined] : groups;
  const adjustment = adjustmentOf(
    names.flatMap((name) => strata.map((hashes) => tally.moments(name, i, hashes))),
    ratio,
  );
  const pairs = pairsOf(experiment, i, tally, groups);
  const estimates = new Map(pairs.map(({ arm, own }) => [arm, estimate(own, ratio, adjustment)]));
  if (names.includes(control))
    estimates.set(control, estimate(pairs[0]?.control ?? tally.moments(control, i), ratio, adjustment));
  const comparisons = pairs.flatMap((pair) => {
    const [own, other] = [estimates.get(pair.arm)!, estimate(pair.control, ratio, adjustment)];
    const comparison = isKnown(own) && isKnown(other) ? compare(other, own, alpha) : undefined;
    return comparison ? [{ arm: pair.arm, ...comparison }] : [];
  });
  const known = names.flatMap((arm) => {
    const found = estimates.get(arm);
    return found && isKnown(found) ? [{ arm, ...found }] : [];
  });
  return { arms: known, comparisons, adjustment };
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
  groups: readonly (readonly string[])[],
): UncorrectedSection {
  const { arms, comparisons, adjustment } = estimateArms(experiment, { metric, i, alpha }, tally, groups);
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

/**
 * Estimates all metrics and compares the arms; the p-values of all comparisons are corrected as one family.
 * @param history definitions by `configHash`. Units that were first exposed under other weights are compared apart.
 */
export function metricSections(
  experiment: Experiment,
  tally: Tally,
  alpha: number,
  history: ReadonlyMap<string, Experiment> = new Map(),
): readonly MetricSection[] {
  const groups = weightGroups(experiment, [...tally.firsts.keys()], history);
  const sections = experiment.metrics.map((metric, i) =>
    uncorrectedSection(experiment, metric, i, tally, alpha, groups),
  );
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
