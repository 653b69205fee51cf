import { goodnessOfFit } from '../../statistics/chi-square.ts';
import { exactMultinomial } from '../../statistics/multinomial.ts';
import { SequentialRatio } from './sequential-ratio.ts';

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

/** Returns the always-valid p-value of counts alone, as if units had come in equal proportions at all times. */
function evenly(counts: readonly number[], shares: readonly number[]): number {
  const ratio = new SequentialRatio(counts.length);
  const units = counts.reduce((sum, count) => sum + count, 0);
  const seen = counts.map(() => 0);
  for (let i = 1; i <= units; i++) {
    const lag = (arm: number) => (counts[arm]! * i) / units - seen[arm]!;
    const arm = counts.reduce((most, _, at) => (lag(at) > lag(most) ? at : most), 0);
    seen[arm]!++;
    ratio.add(arm, shares);
  }
  return ratio.p;
}

/**
 * Tests the distinct units of the arms against what was planned.
 * @param arms with `weight` in proportion to the units that were expected, more than 0.
 * @param alwaysValidP the p-value of the units in the order in which they came; if absent, they count as coming evenly.
 * @returns nothing while there are no units.
 */
export function sampleRatio(
  arms: readonly { readonly name: string; readonly weight: number; readonly units: number }[],
  alwaysValidP?: number,
): SampleRatio | undefined {
  const units = arms.reduce((sum, arm) => sum + arm.units, 0);
  if (units === 0) return undefined;
  const weights = arms.reduce((sum, { weight }) => sum + weight, 0);
  const counts = arms.map((arm) => arm.units);
  const shares = arms.map(({ weight }) => weight / weights);
  const { statistic, df, p: approximate } = goodnessOfFit(counts, shares);
  const isSmall = shares.some((share) => share * units < LEAST_EXPECTED);
  const p = isSmall ? exactMultinomial(counts, shares) : approximate;
  const anytime = alwaysValidP ?? evenly(counts, shares);
  return {
    statistic,
    df,
    test: isSmall ? 'exact' : 'chi_square',
    ...(p === undefined ? {} : { p }),
    alwaysValidP: anytime,
    ok: anytime >= RATIO_ALPHA,
    arms: arms.map(({ name, units: seen }, i) => ({ arm: name, units: seen, expected: units * shares[i]! })),
  };
}
