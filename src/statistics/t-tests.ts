import { studentT } from './distributions.ts';
import { differences, mean, variance } from './samples.ts';

export interface TestResult {
  readonly statistic: number;
  /** Two-sided. */
  readonly p: number;
}

interface TResult extends TestResult {
  readonly df: number;
  /** Mean difference, first minus second. */
  readonly difference: number;
  /** Two-sided confidence interval of the difference. */
  readonly interval: readonly [number, number];
}

function result(difference: number, error: number, df: number, level: number): TResult {
  const statistic = difference / error;
  const distribution = studentT(df);
  const reach = distribution.quantile(0.5 + level / 2) * error;
  return {
    statistic,
    df,
    difference,
    p: Number.isNaN(statistic) ? Number.NaN : 2 * distribution.sf(Math.abs(statistic)),
    interval: [difference - reach, difference + reach],
  };
}

/** Computes Student's paired t-test over per-query values of two systems. Equal samples give NaN (0 / 0), as in SciPy's `ttest_rel`. */
export function pairedT(a: ArrayLike<number>, b: ArrayLike<number>, level = 0.95): TResult {
  const d = differences(a, b);
  return result(mean(d), Math.sqrt(variance(d) / d.length), d.length - 1, level);
}
