import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { clusterBootstrap } from '../../../src/experiments/analysis/credit.ts';
import { adjustmentOf, compare, estimate } from '../../../src/experiments/analysis/estimates.ts';
import { Moments } from '../../../src/experiments/analysis/moments.ts';
import { powerAt } from '../../../src/experiments/analysis/power.ts';
import { sequentialReach } from '../../../src/experiments/analysis/sequential.ts';
import { evenRatio } from './even-ratio.ts';

/* Made by vectors/make.py with NumPy and SciPy, by other ways than the analysis goes (see there). */
interface Vectors {
  readonly arms: readonly { readonly y: number[]; readonly x: number[]; readonly c: number[] }[];
  readonly mean: {
    readonly difference: number;
    readonly error: number;
    readonly p: number;
    readonly interval: number[];
  };
  readonly ratio: { readonly values: number[]; readonly errors: number[] };
  readonly lift: { readonly value: number; readonly error: number };
  readonly cuped: { readonly theta: number; readonly difference: number; readonly p: number };
  readonly srm: readonly { counts: number[]; weights: number[]; statistic: number; p: number }[];
  readonly sequential: readonly { n: number; rho2: number; alpha: number; reach: number }[];
  readonly bootstrap: { readonly score: number[]; readonly requests: number[]; readonly interval: number[] };
  readonly power: readonly { n: number; deviation: number; effect: number; shares: [number, number]; power: number }[];
}
const vectors = JSON.parse(readFileSync(join(import.meta.dirname, 'vectors/scipy.json'), 'utf8')) as Vectors;

const arms = vectors.arms.map(({ y, x, c }) => {
  const moments = new Moments();
  y.forEach((value, i) => {
    moments.add(value, x[i]!, c[i]!);
  });
  return moments;
});

/** Agreement to a relative precision. */
const close = (seen: number, wanted: number, relative = 1e-9) =>
  expect(Math.abs(seen - wanted), `${seen} for ${wanted}`).toBeLessThanOrEqual(Math.abs(wanted) * relative);

describe('figures equal those of NumPy and SciPy', () => {
  const [control, treatment] = arms.map((moments) => estimate(moments, false));
  const means = compare(control!, treatment!)!;

  it('difference of means: Welch’s t-test', () => {
    close(means.difference, vectors.mean.difference);
    close(means.standardError, vectors.mean.error);
    close(means.fixed.p, vectors.mean.p);
    for (const i of [0, 1]) close(means.fixed.interval[i]!, vectors.mean.interval[i]!);
  });

  it('relative lift: the delta method', () => {
    close(means.lift!, vectors.lift.value);
    const reach = (means.fixed.interval[1] - means.difference) / means.standardError;
    close((means.fixed.liftInterval![1] - means.lift!) / reach, vectors.lift.error, 1e-6);
  });

  it('ratios: the delta method', () => {
    arms.forEach((moments, i) => {
      const { value, variance, n } = estimate(moments, true);
      close(value, vectors.ratio.values[i]!);
      close(Math.sqrt(variance / n), vectors.ratio.errors[i]!, 1e-6);
    });
  });

  it('CUPED: analysis of covariance', () => {
    const adjustment = adjustmentOf(arms, false)!;
    close(adjustment.theta, vectors.cuped.theta);
    const [a, b] = arms.map((moments) => estimate(moments, false, adjustment));
    const comparison = compare(a!, b!)!;
    close(comparison.difference, vectors.cuped.difference);
    close(comparison.fixed.p, vectors.cuped.p, 1e-8);
  });

  it('sample ratio: Pearson’s χ²', () => {
    for (const { counts, weights, statistic, p } of vectors.srm) {
      const ratio = evenRatio(counts, weights);
      close(ratio.statistic, statistic);
      close(ratio.p!, p);
      expect(ratio.ok).toBe(p >= 0.001);
    }
    expect(vectors.srm.some(({ p }) => p < 0.001)).toBe(true);
  });

  it('always-valid reach: the mixture’s boundary by integration', () => {
    for (const { n, rho2, alpha, reach } of vectors.sequential) close(sequentialReach(n, alpha, rho2), reach, 1e-8);
  });

  it('power of the z-test', () => {
    for (const { power, n, ...plan } of vectors.power) close(powerAt(n, plan), power);
  });

  it('cluster bootstrap, within its own noise', () => {
    const { score, requests, interval } = vectors.bootstrap;
    const units = score.map((value, i) => ({ score: value, requests: requests[i]! }));
    const width = interval[1]! - interval[0]!;
    clusterBootstrap(units, 1).forEach((bound, i) => {
      expect(Math.abs(bound - interval[i]!)).toBeLessThan(width / 10);
    });
  });
});
