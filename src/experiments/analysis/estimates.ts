import { normal, studentT } from '../../statistics/distributions.ts';
import { COVARIATE, DENOMINATOR, NUMERATOR } from './moments.ts';
import { mixture, sequentialP, sequentialReach } from './sequential.ts';
import type { MomentsView } from './strata.ts';

export type Interval = readonly [low: number, high: number];

/** One arm's metric: a mean over units, and the variance of what a unit contributes to it. */
export interface Estimate {
  readonly n: number;
  readonly value: number;
  /** The value without the covariate. */
  readonly unadjusted: number;
  readonly variance: number;
  /** The variance without the covariate. */
  readonly unadjustedVariance: number;
}

/** The adjustment by a covariate, after CUPED (Deng, Xu, Kohavi and Walker, WSDM 2013). */
export interface Adjustment {
  /** Coefficient of the covariate, from within the arms, so that no effect leaks into it. */
  readonly theta: number;
  /** Correlation of metric and covariate within the arms. */
  readonly correlation: number;
  /** Mean of the covariate over all arms. */
  readonly center: number;
}

/** Returns value and variance of a mean or ratio; the ratio's by the delta method, unit by unit: (y − R x) / mean(x). */
function unadjusted(m: MomentsView, ratio: boolean) {
  const y = m.mean(NUMERATOR);
  if (!ratio)
    return {
      value: y,
      variance: m.covariance(NUMERATOR, NUMERATOR),
      withCovariate: m.covariance(NUMERATOR, COVARIATE),
    };
  const x = m.mean(DENOMINATOR);
  const r = y / x;
  const cov = (i: number, j: number) => m.covariance(i, j);
  return {
    value: r,
    variance:
      (cov(NUMERATOR, NUMERATOR) - 2 * r * cov(NUMERATOR, DENOMINATOR) + r * r * cov(DENOMINATOR, DENOMINATOR)) /
      (x * x),
    withCovariate: (cov(NUMERATOR, COVARIATE) - r * cov(DENOMINATOR, COVARIATE)) / x,
  };
}

/** Computes the adjustment that arms share; nothing where the covariate explains nothing. */
export function adjustmentOf(arms: readonly MomentsView[], ratio: boolean): Adjustment | undefined {
  let [cross, spread, own, sum, units] = [0, 0, 0, 0, 0];
  for (const m of arms) {
    if (m.n < 2) continue;
    const { variance, withCovariate } = unadjusted(m, ratio);
    cross += (m.n - 1) * withCovariate;
    spread += (m.n - 1) * m.covariance(COVARIATE, COVARIATE);
    own += (m.n - 1) * variance;
    sum += m.n * m.mean(COVARIATE);
    units += m.n;
  }
  if (!(spread > 0 && own > 0)) return undefined;
  return { theta: cross / spread, correlation: cross / Math.sqrt(spread * own), center: sum / units };
}

/** Estimates a metric of one arm. @param ratio the metric is a ratio, else a mean. */
export function estimate(m: MomentsView, ratio: boolean, adjustment?: Adjustment): Estimate {
  const { value, variance, withCovariate } = unadjusted(m, ratio);
  const bare = { n: m.n, unadjusted: value, unadjustedVariance: variance };
  if (!adjustment) return { ...bare, value, variance };
  const { theta, center } = adjustment;
  return {
    ...bare,
    value: value - theta * (m.mean(COVARIATE) - center),
    variance: variance - 2 * theta * withCovariate + theta * theta * m.covariance(COVARIATE, COVARIATE),
  };
}

/** A difference with its interval, as a value and relative to control. */
interface Inference {
  readonly interval: Interval;
  /** Of the relative lift; absent where control is 0. */
  readonly liftInterval?: Interval;
  readonly p: number;
}

export interface Comparison {
  readonly difference: number;
  readonly standardError: number;
  /** Difference ÷ control; absent where control is 0. */
  readonly lift?: number;
  /** For one look at a number of units decided on before: Welch's t. */
  readonly fixed: Inference;
  /** For looks at any time, as often as wanted. */
  readonly alwaysValid: Inference;
}

const around = (center: number, reach: number): Interval => [center - reach, center + reach];

/** Returns Welch's degrees of freedom. */
function freedom(a: Estimate, b: Estimate): number {
  const [va, vb] = [a.variance / a.n, b.variance / b.n];
  return (va + vb) ** 2 / (va ** 2 / (a.n - 1) + vb ** 2 / (b.n - 1));
}

/** Returns the standard error of treatment ÷ control − 1, by the delta method; arms are independent. */
function liftError(control: Estimate, treatment: Estimate): number {
  const { value: c } = control;
  const ofControl = (treatment.value ** 2 * control.variance) / (control.n * c ** 4);
  return Math.sqrt(treatment.variance / (treatment.n * c ** 2) + ofControl);
}

/**
 * Compares an arm with control. Without any spread equal arms differ with p = 1, others with p = 0.
 * @returns nothing below two units an arm.
 */
export function compare(control: Estimate, treatment: Estimate, alpha = 0.05): Comparison | undefined {
  if (control.n < 2 || treatment.n < 2) return undefined;
  const difference = treatment.value - control.value;
  const error = Math.sqrt(control.variance / control.n + treatment.variance / treatment.n);
  if (!Number.isFinite(difference) || !Number.isFinite(error)) return undefined;
  const z = difference / error;
  const t = error > 0 ? studentT(freedom(control, treatment)) : normal;
  const units = control.n + treatment.n;
  const rho2 = mixture(alpha);
  const still = difference === 0 ? 1 : 0;
  const lift = control.value === 0 ? undefined : difference / control.value;
  const relative = lift === undefined ? 0 : liftError(control, treatment);
  const inference = (reach: number, p: number): Inference => ({
    interval: around(difference, error > 0 ? reach * error : 0),
    ...(lift === undefined ? {} : { liftInterval: around(lift, relative > 0 ? reach * relative : 0) }),
    p: error > 0 ? p : still,
  });
  return {
    difference,
    standardError: error,
    ...(lift === undefined ? {} : { lift }),
    fixed: inference(t.quantile(1 - alpha / 2), 2 * t.sf(Math.abs(z))),
    alwaysValid: inference(sequentialReach(units, alpha, rho2), sequentialP(z, units, rho2)),
  };
}

/** Compares an estimate with 0, where 0 means no difference, such as a preference. @returns nothing below two units. */
export function compareWithZero({ n, value, variance }: Estimate, alpha = 0.05): Omit<Comparison, 'lift'> | undefined {
  if (n < 2 || !Number.isFinite(variance)) return undefined;
  const error = Math.sqrt(variance / n);
  const z = value / error;
  const t = studentT(n - 1);
  const rho2 = mixture(alpha);
  const still = value === 0 ? 1 : 0;
  const inference = (reach: number, p: number): Inference => ({
    interval: around(value, error > 0 ? reach * error : 0),
    p: error > 0 ? p : still,
  });
  return {
    difference: value,
    standardError: error,
    fixed: inference(t.quantile(1 - alpha / 2), 2 * t.sf(Math.abs(z))),
    alwaysValid: inference(sequentialReach(n, alpha, rho2), sequentialP(z, n, rho2)),
  };
}
