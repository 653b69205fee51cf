import { WinnowError } from '../../errors.ts';
import type { Experiment } from '../definitions/definition.ts';
import type { ExperimentStore } from '../records.ts';
import { adjustmentOf, estimate } from './estimates.ts';
import { readFigures } from './figures.ts';
import { type Plan, unitsFor } from './power.ts';

/** What is known about a metric before an experiment. */
export interface Baseline {
  readonly metric: string;
  readonly mean: number;
  /** Standard deviation over units. */
  readonly deviation: number;
  /** Correlation with what the unit did before (CUPED); 0 where that is unknown. */
  readonly correlation: number;
  /** New units a day; absent where unknown. */
  readonly unitsADay?: number;
}

export interface PlanRow {
  /** The effect to find, relative to the mean. */
  readonly lift: number;
  /** Units over all arms, for one look at the end and for looks at any time. */
  readonly fixed: number;
  readonly alwaysValid: number;
  readonly fixedDays?: number;
  readonly alwaysValidDays?: number;
}

interface PlanningOptions {
  readonly power?: number;
  readonly alpha?: number;
  /** Weights of control, then the other arms. */
  readonly weights?: readonly [number, number, ...number[]];
  /** Comparisons that share α; the number of arms other than control if absent. */
  readonly comparisons?: number;
}

const DAY_MS = 86_400_000;

/** Reads a metric's baseline from control's units in an experiment. @returns nothing below two units. */
async function baselineOf(
  store: ExperimentStore,
  experiment: Experiment,
  metric: string,
): Promise<Baseline | undefined> {
  const i = experiment.metrics.findIndex(({ name }) => name === metric);
  const { tally, traffic } = await readFigures(store, experiment);
  const moments = tally.moments(experiment.control, i);
  if (i < 0 || moments.n < 2) return undefined;
  const ratio = experiment.metrics[i]!.kind === 'ratio';
  const { unadjusted: mean, unadjustedVariance } = estimate(moments, ratio);
  const [first, last] = [
    Math.min(...traffic.map(({ firstAt }) => firstAt)),
    Math.max(...traffic.map(({ lastAt }) => lastAt)),
  ];
  const units = experiment.arms.reduce((sum, { name }) => sum + tally.units(name), 0);
  const days = (last - first) / DAY_MS;
  const correlation = adjustmentOf([moments], ratio)?.correlation ?? 0;
  // Less than a quarter of a day does not show the units of a day.
  const unitsADay = days >= 0.25 ? { unitsADay: units / days } : {};
  return { metric, mean, deviation: Math.sqrt(unadjustedVariance), correlation, ...unitsADay };
}

/** Computes the units and days that effects of several sizes need. The smallest arm other than control decides. */
function planFor(baseline: Baseline, lifts: readonly number[], options: PlanningOptions = {}): readonly PlanRow[] {
  const { power = 0.8, alpha = 0.05, weights = [1, 1] } = options;
  const [control, ...others] = weights;
  const smallest = Math.min(...others);
  const all = weights.reduce((sum, weight) => sum + weight, 0);
  const { deviation, correlation, unitsADay } = baseline;
  return lifts.map((lift) => {
    const plan: Plan = {
      deviation,
      correlation,
      alpha,
      effect: lift * baseline.mean,
      shares: [control, smallest],
      comparisons: options.comparisons ?? others.length,
    };
    const units = (method: NonNullable<Plan['method']>) =>
      Math.ceil((unitsFor(power, { ...plan, method }) * all) / (control + smallest));
    const [fixed, alwaysValid] = [units('fixed'), units('alwaysValid')];
    const days = (n: number) => n / unitsADay!;
    return {
      lift,
      fixed,
      alwaysValid,
      ...(unitsADay === undefined ? {} : { fixedDays: days(fixed), alwaysValidDays: days(alwaysValid) }),
    };
  });
}

/** The parts of a baseline that the caller knows. */
type KnownBaseline = { readonly [K in keyof Baseline]?: Baseline[K] | undefined };

export interface ExperimentPlan {
  readonly baseline: Baseline;
  readonly rows: readonly PlanRow[];
}

/** Completes a given baseline by the one an experiment has shown. @throws WinnowError `invalid_input` without mean or deviation. */
function completeBaseline(given: KnownBaseline, seen: Baseline | undefined): Baseline {
  const { mean = seen?.mean, deviation = seen?.deviation, correlation = seen?.correlation ?? 0 } = given;
  if (mean === undefined || deviation === undefined)
    throw new WinnowError('invalid_input', {
      where: 'plan',
      expected: 'an experiment with outcomes, or --mean and --deviation',
      got: seen ? 'neither' : 'no outcomes of control',
    });
  const metric = given.metric ?? seen?.metric ?? 'metric';
  const unitsADay = given.unitsADay ?? seen?.unitsADay;
  return { metric, mean, deviation, correlation, ...(unitsADay === undefined ? {} : { unitsADay }) };
}

/** Plans an experiment from a baseline alone. @throws WinnowError `invalid_input` without mean or deviation. */
export function planUnits(given: KnownBaseline, lifts: readonly number[], options: PlanningOptions): ExperimentPlan {
  const baseline = completeBaseline(given, undefined);
  return { baseline, rows: planFor(baseline, lifts, options) };
}

/** Plans an experiment with its arms and the baseline that its control has shown. @throws WinnowError `invalid_input` without mean or deviation. */
export async function planExperiment(
  store: ExperimentStore,
  experiment: Experiment,
  given: KnownBaseline,
  lifts: readonly number[],
  options: PlanningOptions,
): Promise<ExperimentPlan> {
  const { arms, control, metrics } = experiment;
  const seen = await baselineOf(store, experiment, given.metric ?? metrics[0]!.name);
  const baseline = completeBaseline(given, seen);
  const ofControl = arms.filter((arm) => arm.name === control).map(({ weight }) => weight);
  const ofOthers = arms.filter((arm) => arm.name !== control).map(({ weight }) => weight);
  const weights = [...ofControl, ...ofOthers] as [number, number, ...number[]];
  return { baseline, rows: planFor(baseline, lifts, { ...options, weights }) };
}
