import { goodnessOfFit } from '../../statistics/chi-square.ts';
import { exactMultinomial } from '../../statistics/multinomial.ts';

/**
 * A smaller always-valid p-value means that units went missing or were counted twice: nothing else in the report can be trusted then. Of
 * sound experiments at most this share is ever refused, however often they are read.
 */
const RATIO_ALPHA = 0.01;

/** Fewer expected units than this in an arm make χ² wrong; the exact test takes its place. */
const LEAST_EXPECTED = 5;

export interface SampleRatio {
  /** Pearson's χ². */
  readonly statistic: number;
  readonly df: number;
  /** What `p` is computed by: `exact` (multinomial) where an arm expects fewer than 5 units, else `chi_square`. */
  readonly test: 'chi_square' | 'exact';
  /** p-value of one look at a number of units decided on before; absent where the exact test has too many cases to count. */
  readonly p?: number;
  /** p-value for looks at any time: it decides. */
  readonly alwaysValidP: number;
  readonly ok: boolean;
  readonly arms: readonly { readonly arm: string; readonly units: number; readonly expected: number }[];
}

/**
 * Tests the distinct units of the arms against what was planned.
 * @param arms with `weight` in proportion to the units that were expected, more than 0.
 * @param alwaysValidP the p-value of the units in the order in which they came.
 * @returns nothing while there are no units.
 */
export function sampleRatio(
  arms: readonly { readonly name: string; readonly weight: number; readonly units: number }[],
  alwaysValidP: number,
): SampleRatio | undefined {
  const units = arms.reduce((sum, arm) => sum + arm.units, 0);
  if (units === 0) return undefined;
  const weights = arms.reduce((sum, { weight }) => sum + weight, 0);
  const counts = arms.map((arm) => arm.units);
  const shares = arms.map(({ weight }) => weight / weights);
  const { statistic, df, p: approximate } = goodnessOfFit(counts, shares);
  const isSmall = shares.some((share) => share * units < LEAST_EXPECTED);
  const p = isSmall ? exactMultinomial(counts, shares) : approximate;
  return {
    statistic,
    df,
    test: isSmall ? 'exact' : 'chi_square',
    ...(p === undefined ? {} : { p }),
    alwaysValidP,
    ok: alwaysValidP >= RATIO_ALPHA,
    arms: arms.map(({ name, units: seen }, i) => ({ arm: name, units: seen, expected: units * shares[i]! })),
  };
}
