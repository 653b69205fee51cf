import { describe, expect, it } from 'vitest';
import { adjustmentOf, compare, compareWithZero, estimate } from '../../../src/experiments/analysis/estimates.ts';
import { Moments } from '../../../src/experiments/analysis/moments.ts';
import { powerAt, unitsFor } from '../../../src/experiments/analysis/power.ts';
import { falsePositives } from '../../../src/experiments/analysis/self-check.ts';
import { mixture, sequentialP, sequentialReach } from '../../../src/experiments/analysis/sequential.ts';
import { createRandom, type Random } from '../../../src/util/random.ts';

/*
 * The analysis against simulations of which the truth is known. Everything is seeded: these tests pass or fail the same way everywhere.
 */

const ALPHA = 0.05;
const RUNS = 1000;
/** 95 of 100 sound analyses stay within. */
const REACH = 1.96 * Math.sqrt((ALPHA * (1 - ALPHA)) / RUNS);

/** A unit's clicks and requests: skewed counts whose rate differs from unit to unit, as those of people do. */
function person(random: Random, uplift = 0): [clicks: number, requests: number] {
  const requests = 1 + random.below(5);
  const rate = 0.1 + 0.4 * random.next() + uplift;
  let clicks = 0;
  for (let i = 0; i < requests; i++) if (random.next() < rate) clicks++;
  return [clicks, requests];
}

function arm(random: Random, units: number, uplift = 0): Moments {
  const moments = new Moments();
  for (let i = 0; i < units; i++) moments.add(...person(random, uplift), 0);
  return moments;
}

describe('1,000 experiments without an effect', () => {
  it.each([
    ['means', false],
    ['ratios (delta method)', true],
  ])('%s: a fixed horizon finds 5 %% ± 1.4 %%', (_name, ratio) => {
    const random = createRandom(ratio ? 11 : 12);
    let found = 0;
    for (let run = 0; run < RUNS; run++) {
      const [a, b] = [arm(random, 500), arm(random, 500)].map((m) => estimate(m, ratio));
      if (compare(a!, b!)!.fixed.p < ALPHA) found++;
    }
    expect(Math.abs(found / RUNS - ALPHA)).toBeLessThanOrEqual(REACH);
  });

  it('with CUPED, whose coefficient is estimated from the same data: 5 % ± 1.4 %', () => {
    const random = createRandom(13);
    let found = 0;
    for (let run = 0; run < RUNS; run++) {
      const arms = [0, 1].map(() => {
        const moments = new Moments();
        for (let i = 0; i < 300; i++) {
          const habit = random.normal();
          moments.add(habit + random.normal(), 1, habit);
        }
        return moments;
      });
      const adjustment = adjustmentOf(arms, false);
      const [a, b] = arms.map((m) => estimate(m, false, adjustment));
      if (compare(a!, b!)!.fixed.p < ALPHA) found++;
    }
    expect(Math.abs(found / RUNS - ALPHA)).toBeLessThanOrEqual(REACH);
  });

  /** Looks after every unit from the 200th on; whether any look found something. */
  function peek(random: Random, units: number): { readonly fixed: boolean; readonly sequential: boolean } {
    const arms = [new Moments(), new Moments()] as const;
    const rho2 = mixture(ALPHA);
    let [fixed, sequential] = [false, false];
    for (let n = 1; n <= units; n++) {
      arms[(n % 2) as 0 | 1].add(...person(random), 0);
      if (n < 200) continue;
      const [a, b] = arms.map((m) => estimate(m, false));
      const z = Math.abs(b!.value - a!.value) / Math.sqrt(a!.variance / a!.n + b!.variance / b!.n);
      fixed ||= z > 1.96;
      sequential ||= z > sequentialReach(n, ALPHA, rho2);
    }
    return { fixed, sequential };
  }

  it('under continuous peeking the always-valid interval finds at most 5 %, where a fixed one finds far more', () => {
    const random = createRandom(14);
    let [fixed, sequential] = [0, 0];
    for (let run = 0; run < RUNS; run++) {
      const found = peek(random, 2500);
      if (found.fixed) fixed++;
      if (found.sequential) sequential++;
    }
    expect(sequential / RUNS).toBeLessThanOrEqual(ALPHA);
    expect(fixed / RUNS).toBeGreaterThan(0.2);
  }, 120_000);

  it('halves of one sample, as the self-check draws them: 5 % ± 1.4 %', () => {
    const random = createRandom(15);
    const values = Float64Array.from({ length: 3 * 600 }, (_, i) => (i % 3 === 1 ? 1 : random.normal() ** 2));
    const share = falsePositives({ count: 600, values }, false, { runs: RUNS, seed: 3, alpha: ALPHA });
    expect(Math.abs(share - ALPHA)).toBeLessThanOrEqual(REACH);
  });
});

describe('the always-valid p-value', () => {
  it('is α exactly where the interval touches 0, and falls beyond', () => {
    const rho2 = mixture(ALPHA);
    for (const n of [10, 1000, 100_000]) {
      const reach = sequentialReach(n, ALPHA, rho2);
      expect(sequentialP(reach, n, rho2)).toBeCloseTo(ALPHA, 12);
      expect(sequentialP(reach * 1.1, n, rho2)).toBeLessThan(ALPHA);
      expect(sequentialP(0, n, rho2)).toBe(1);
    }
  });

  it('costs least where it is said to be tightest', () => {
    const widths = [1000, 10_000, 100_000].map((units) => sequentialReach(10_000, ALPHA, mixture(ALPHA, units)));
    expect(widths[1]).toBeLessThan(widths[0]!);
    expect(widths[1]).toBeLessThan(widths[2]!);
  });
});

describe('power', () => {
  const plan = { deviation: 2, effect: 0.25 };

  it.each([
    ['fixed', [1, 1], 0.8],
    ['fixed', [3, 1], 0.9],
    ['alwaysValid', [1, 1], 0.8],
  ] as const)('%s, shares %o: what is planned is found within 3 points', (method, shares, wanted) => {
    const units = unitsFor(wanted, { ...plan, shares, method });
    const control = Math.round((units * shares[0]) / (shares[0] + shares[1]));
    const random = createRandom(21);
    let found = 0;
    const runs = 1500;
    for (let run = 0; run < runs; run++) {
      const [a, b] = [
        [control, 0],
        [units - control, plan.effect],
      ].map(([n, shift]) => {
        const moments = new Moments();
        for (let i = 0; i < n!; i++) moments.add(5 + shift! + plan.deviation * random.normal(), 1, 0);
        return estimate(moments, false);
      });
      if (compare(a!, b!)![method].p < ALPHA) found++;
    }
    expect(Math.abs(found / runs - wanted)).toBeLessThan(0.03);
  });

  it('of the textbook: 2 × 393 units find 0.2 standard deviations with 80 % (Cohen 1988, two-sided α .05)', () => {
    expect(unitsFor(0.8, { deviation: 1, effect: 0.2 })).toBe(785);
    expect(powerAt(786, { deviation: 1, effect: 0.2 })).toBeCloseTo(0.8, 2);
  });

  it('grows with units, with effect and with a good covariate, and shrinks with comparisons', () => {
    const at = (change: object, n = 1000) => powerAt(n, { ...plan, ...change });
    expect(at({}, 2000)).toBeGreaterThan(at({}));
    expect(at({ effect: 0.3 })).toBeGreaterThan(at({}));
    expect(at({ effect: -0.25 })).toBeCloseTo(at({}), 12);
    expect(at({ correlation: 0.7 })).toBeGreaterThan(at({}));
    expect(at({ comparisons: 4 })).toBeLessThan(at({}));
    expect(at({ method: 'alwaysValid' })).toBeLessThan(at({}));
  });

  it('a covariate with correlation ρ saves the share ρ² of the units', () => {
    const bare = unitsFor(0.8, plan);
    expect(unitsFor(0.8, { ...plan, correlation: 0.6 }) / bare).toBeCloseTo(1 - 0.36, 2);
  });
});

describe('CUPED', () => {
  /** Metric and covariate with correlation ρ. */
  function correlated(random: Random, rho: number, units: number, shift: number): Moments {
    const moments = new Moments();
    for (let i = 0; i < units; i++) {
      const before = random.normal();
      moments.add(10 + shift + 3 * (rho * before + Math.sqrt(1 - rho * rho) * random.normal()), 1, 7 + 2 * before);
    }
    return moments;
  }

  it.each([0, 0.3, 0.6, 0.9])('ρ = %f: the variance is cut to 1 − ρ²', (rho) => {
    const random = createRandom(31);
    const arms = [correlated(random, rho, 20_000, 0), correlated(random, rho, 20_000, 0.5)];
    const adjustment = adjustmentOf(arms, false)!;
    expect(adjustment.correlation).toBeCloseTo(rho, 1);
    const kept = arms.map((moments) => {
      const { variance, unadjustedVariance } = estimate(moments, false, adjustment);
      return variance / unadjustedVariance;
    });
    for (const share of kept) expect(Math.abs(share - (1 - rho * rho))).toBeLessThan(0.02);
    const [a, b] = arms.map((moments) => estimate(moments, false, adjustment));
    expect(Math.abs(compare(a!, b!)!.difference - 0.5)).toBeLessThan(0.12);
  });

  it('within one sample the cut is 1 − r² to the last digit', () => {
    const moments = correlated(createRandom(32), 0.5, 500, 0);
    const adjustment = adjustmentOf([moments], false)!;
    const { variance, unadjustedVariance } = estimate(moments, false, adjustment);
    expect(variance / unadjustedVariance).toBeCloseTo(1 - adjustment.correlation ** 2, 12);
  });

  it('a covariate without spread changes nothing', () => {
    const moments = new Moments();
    for (const y of [1, 2, 3]) moments.add(y, 1, 4);
    expect(adjustmentOf([moments], false)).toBeUndefined();
  });
});

describe('edges', () => {
  const of = (values: readonly number[]) => {
    const moments = new Moments();
    for (const value of values) moments.add(value, 1, 0);
    return estimate(moments, false);
  };

  it('two units an arm are the least', () => {
    expect(compare(of([1]), of([1, 2, 3]))).toBeUndefined();
    expect(compareWithZero(of([1]))).toBeUndefined();
  });

  it('arms without spread differ or they do not', () => {
    expect(compare(of([1, 1]), of([1, 1]))!.alwaysValid).toEqual({ interval: [0, 0], liftInterval: [0, 0], p: 1 });
    expect(compare(of([1, 1]), of([2, 2]))!.fixed.p).toBe(0);
  });

  it('a control of zero has no lift', () => {
    const comparison = compare(of([0, 0, 0]), of([0, 1, 2]))!;
    expect(comparison.lift).toBeUndefined();
    expect(comparison.fixed.liftInterval).toBeUndefined();
    expect(comparison.difference).toBe(1);
  });
});
