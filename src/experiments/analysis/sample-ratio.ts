import { goodnessOfFit } from '../../statistics/chi-square.ts';

/** A smaller p-value means that units went missing or were counted twice: nothing else in the report can be trusted then. */
const SRM_ALPHA = 0.001;

export interface SampleRatio {
  readonly statistic: number;
  readonly df: number;
  readonly p: number;
  readonly ok: boolean;
  readonly arms: readonly { readonly arm: string; readonly units: number; readonly expected: number }[];
}

/** Tests the distinct units of the arms against their weights by χ². @returns nothing while there are no units. */
export function sampleRatio(
  arms: readonly { readonly name: string; readonly weight: number; readonly units: number }[],
): SampleRatio | undefined {
  const units = arms.reduce((sum, arm) => sum + arm.units, 0);
  if (units === 0) return undefined;
  const weights = arms.reduce((sum, { weight }) => sum + weight, 0);
  const { statistic, df, p } = goodnessOfFit(
    arms.map((arm) => arm.units),
    arms.map(({ weight }) => weight),
  );
  return {
    statistic,
    df,
    p,
    ok: p >= SRM_ALPHA,
    arms: arms.map(({ name, weight, units: seen }) => ({
      arm: name,
      units: seen,
      expected: (units * weight) / weights,
    })),
  };
}
