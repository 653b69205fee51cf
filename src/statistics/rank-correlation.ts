import { normal } from './distributions.ts';
import { tieSizes } from './ranks.ts';
import { sum } from './samples.ts';
import type { TestResult } from './t-tests.ts';

/** Counts concordant minus discordant pairs, and discordant pairs. */
function countPairs(a: ArrayLike<number>, b: ArrayLike<number>): { balance: number; discordant: number } {
  let balance = 0;
  let discordant = 0;
  for (let i = 0; i < a.length; i++)
    for (let j = i + 1; j < a.length; j++) {
      const sign = Math.sign(a[i]! - a[j]!) * Math.sign(b[i]! - b[j]!);
      balance += sign;
      if (sign < 0) discordant++;
    }
  return { balance, discordant };
}

/** Returns the two-sided exact p-value: the share of the n! orders at least as extreme as `inversions`. */
function exactKendallP(n: number, inversions: number): number {
  const pairs = (n * (n - 1)) / 2;
  const limit = Math.min(inversions, pairs - inversions);
  let shares = new Float64Array(limit + 1);
  shares[0] = 1;
  for (let size = 2; size <= n; size++) {
    const next = new Float64Array(limit + 1);
    for (let i = 0, window = 0; i <= limit; i++) {
      window += shares[i]!;
      if (i >= size) window -= shares[i - size]!;
      next[i] = window / size;
    }
    shares = next;
  }
  return 2 * limit === pairs ? 1 : Math.min(1, 2 * sum(shares));
}

function kendallVariance(n: number, tiesA: readonly number[], tiesB: readonly number[]): number {
  const add = (sizes: readonly number[], f: (t: number) => number): number => sizes.reduce((s, t) => s + f(t), 0);
  const v = (sizes: readonly number[]): number => add(sizes, (t) => t * (t - 1) * (2 * t + 5));
  const two = (sizes: readonly number[]): number => add(sizes, (t) => t * (t - 1));
  const three = (sizes: readonly number[]): number => add(sizes, (t) => t * (t - 1) * (t - 2));
  const m = n * (n - 1);
  return (
    (m * (2 * n + 5) - v(tiesA) - v(tiesB)) / 18 +
    (two(tiesA) * two(tiesB)) / (2 * m) +
    (n > 2 ? (three(tiesA) * three(tiesB)) / (9 * m * (n - 2)) : 0)
  );
}

/** Computes Kendall's τ-b; p is exact without ties up to 33 values, asymptotic otherwise (SciPy's default). */
export function kendall(a: ArrayLike<number>, b: ArrayLike<number>): TestResult {
  const n = a.length;
  const [tiesA, tiesB] = [tieSizes(a), tieSizes(b)];
  const tied = (sizes: readonly number[]): number => sizes.reduce((s, t) => s + (t * (t - 1)) / 2, 0);
  const pairs = (n * (n - 1)) / 2;
  const { balance, discordant } = countPairs(a, b);
  const tau = balance / Math.sqrt((pairs - tied(tiesA)) * (pairs - tied(tiesB)));
  const free = tied(tiesA) === 0 && tied(tiesB) === 0;
  if (free && (n <= 33 || Math.min(discordant, pairs - discordant) <= 1))
    return { statistic: tau, p: exactKendallP(n, discordant) };
  const z = Math.abs(balance) / Math.sqrt(kendallVariance(n, tiesA, tiesB));
  return { statistic: tau, p: Number.isNaN(tau) ? Number.NaN : 2 * normal.sf(z) };
}

/**
 * Computes the extrapolated rank-biased overlap of two rankings without ties (Webber, Moffat and Zobel 2010, equation 32), 0 … 1. The
 * closer `p` is to 1, the more deep ranks count. Rankings may differ in length and content; two empty ones give 1, an empty and another one
 * 0.
 */
export function rankBiasedOverlap(a: readonly string[], b: readonly string[], p: number): number {
  const [short, long] = a.length <= b.length ? [a, b] : [b, a];
  const [s, l] = [short.length, long.length];
  if (s === 0) return l === 0 ? 1 : 0;
  const inShort = new Set<string>();
  const inLong = new Set<string>();
  let overlap = 0;
  let overlapAtS = 0;
  let total = 0;
  for (let d = 1; d <= l; d++) {
    const x = long[d - 1]!;
    const y = d <= s ? short[d - 1]! : undefined;
    if (x === y) overlap++;
    else overlap += (inShort.has(x) ? 1 : 0) + (y !== undefined && inLong.has(y) ? 1 : 0);
    inLong.add(x);
    if (y !== undefined) inShort.add(y);
    if (d === s) overlapAtS = overlap;
    total += (overlap / d) * p ** d;
    if (d > s) total += ((overlapAtS * (d - s)) / (s * d)) * p ** d;
  }
  return ((1 - p) / p) * total + ((overlap - overlapAtS) / l + overlapAtS / s) * p ** l;
}
