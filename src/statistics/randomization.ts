import { createRandom, type Random } from '../util/random.ts';
import { differences, mean } from './samples.ts';
import type { TestResult } from './t-tests.ts';

interface RandomizationOptions {
  /** Random sign assignments if there are too many to try all; default 100,000. */
  readonly resamples?: number;
  readonly random?: Random;
}

/** Up to this many pairs all 2^n assignments are tried. */
const EXACT_PAIRS = 16;

/** Relative tolerance: sums that differ by rounding only count as equal. */
const SLACK = 1e-14;

/** Yields the sums of all 2^n sign assignments in Gray-code order: one addition each. */
function* allSums(d: Float64Array): Generator<number> {
  const signs = new Int8Array(d.length).fill(1);
  let sum = d.reduce((a, b) => a + b, 0);
  yield sum;
  for (let step = 1; step < 2 ** d.length; step++) {
    const flip = 31 - Math.clz32(step & -step);
    sum -= 2 * signs[flip]! * d[flip]!;
    signs[flip] = -signs[flip]!;
    yield sum;
  }
}

function* randomSums(d: Float64Array, resamples: number, random: Random): Generator<number> {
  for (let i = 0; i < resamples; i++) {
    let sum = 0;
    let bits = 0;
    for (let j = 0; j < d.length; j++) {
      if (j % 30 === 0) bits = Math.floor(random.next() * 2 ** 30);
      sum += bits & 1 ? d[j]! : -d[j]!;
      bits >>>= 1;
    }
    yield sum;
  }
}

/**
 * Computes Fisher's randomization test of paired samples: how often a random swap of the two systems' values, query by query, gives a mean
 * difference at least as far from 0 as the one observed (two-sided). Exact up to 16 pairs; otherwise `resamples` seeded draws plus the
 * observed assignment, so p = (hits + 1) / (resamples + 1) is never 0.
 */
export function randomizationTest(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  options: RandomizationOptions = {},
): TestResult {
  const d = differences(a, b);
  const exact = d.length <= EXACT_PAIRS;
  const resamples = exact ? 2 ** d.length : (options.resamples ?? 100_000);
  const sums = exact ? allSums(d) : randomSums(d, resamples, options.random ?? createRandom(0));
  const scale = d.reduce((total, x) => total + Math.abs(x), 0);
  const seen = Math.abs(d.reduce((x, y) => x + y, 0)) - SLACK * scale;
  let hits = 0;
  for (const sum of sums) if (Math.abs(sum) >= seen) hits++;
  return { statistic: mean(d), p: exact ? hits / resamples : (hits + 1) / (resamples + 1) };
}
