import { WinnowError } from '../errors.ts';
import { sum } from './samples.ts';
import { lnGamma } from './special.ts';

/** The most tables of counts that are enumerated: some 20 ms. */
const MAX_TABLES = 200_000;

/** Returns how many tables of `cells` counts add up to `n`: the binomial coefficient of n + cells − 1 and cells − 1. */
function tableCount(n: number, cells: number): number {
  let count = 1;
  for (let i = 1; i < cells; i++) count *= (n + i) / i;
  return count;
}

/** Calls `visit` with the log probability of every table, without the factor ln n! that all share. */
function eachTable(n: number, logShares: readonly number[], visit: (logProbability: number) => void): void {
  const logFactorials = Float64Array.from({ length: n + 1 }, (_, i) => lnGamma(i + 1));
  const last = logShares.length - 1;
  const fill = (cell: number, left: number, log: number): void => {
    if (cell === last) visit(log + left * logShares[cell]! - logFactorials[left]!);
    for (let count = 0; cell < last && count <= left; count++)
      fill(cell + 1, left - count, log + count * logShares[cell]! - logFactorials[count]!);
  };
  fill(0, n, 0);
}

/**
 * Computes the exact multinomial test of counts against shares, which need not add up to 1: the probability of all tables that are as
 * improbable as the observed one, or more. It holds at any number of observations, unlike χ².
 *
 * @returns the p-value; undefined if there are too many tables (some 600 observations in three cells, 100 in four).
 * @throws WinnowError `invalid_input` for fewer than two counts, another number of shares, or a share that is not positive.
 */
export function exactMultinomial(observed: readonly number[], shares: readonly number[]): number | undefined {
  if (observed.length < 2 || shares.length !== observed.length || shares.some((share) => !(share > 0)))
    throw new WinnowError('invalid_input', {
      where: 'exact multinomial test',
      expected: 'at least 2 counts and a positive share for each',
      got: `${observed.length} counts, shares ${shares.join(', ')}`,
    });
  const n = sum(observed);
  if (tableCount(n, observed.length) > MAX_TABLES) return undefined;
  const whole = sum(shares);
  const logShares = shares.map((share) => Math.log(share / whole));
  const seen = sum(observed.map((count, i) => count * logShares[i]! - lnGamma(count + 1)));
  // Tables that are equally probable differ in the last digits.
  const limit = seen + 1e-9 * Math.max(1, Math.abs(seen));
  const logFactor = lnGamma(n + 1);
  let p = 0;
  eachTable(n, logShares, (log) => {
    if (log <= limit) p += Math.exp(log + logFactor);
  });
  return Math.min(1, p);
}
