import { describe, expect, it } from 'vitest';
import { SequentialRatio } from '../../../src/experiments/analysis/sequential-ratio.ts';
import { lnGamma } from '../../../src/statistics/special.ts';
import { createRandom, type Random } from '../../../src/util/random.ts';
import { evenRatio } from './even-ratio.ts';

const ALPHA = 0.01;

const sharesOf = (weights: readonly number[]): number[] => {
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / total);
};

function draw(random: Random, shares: readonly number[]): number {
  let point = random.next();
  for (const [arm, share] of shares.entries()) {
    point -= share;
    if (point < 0) return arm;
  }
  return shares.length - 1;
}

/** Share of simulated experiments that are ever refused. `phases` are the planned shares and how many units come under each. */
function refused(
  phases: readonly { readonly planned: readonly number[]; readonly units: number; readonly kept?: readonly number[] }[],
  { runs, seed }: { readonly runs: number; readonly seed: number },
): number {
  const random = createRandom(seed);
  let found = 0;
  for (let run = 0; run < runs; run++) {
    const ratio = new SequentialRatio(phases[0]!.planned.length);
    for (const { planned, units, kept } of phases)
      for (let i = 0; i < units; i++) {
        const arm = draw(random, planned);
        if (kept && random.next() >= kept[arm]!) continue;
        ratio.add(arm, planned);
      }
    if (ratio.p < ALPHA) found++;
  }
  return found / runs;
}

describe('the sequential sample ratio', () => {
  it('is the least 1 ÷ Bayes factor of all times: Dirichlet-multinomial, in closed form', () => {
    const [random, shares] = [createRandom(3), [0.5, 0.3, 0.2]];
    /** ln of Γ(k) Γ(k + n)⁻¹ Π Γ(k sᵢ + nᵢ) Γ(k sᵢ)⁻¹ sᵢ^−nᵢ. */
    const logFactor = (counts: readonly number[], k: number) =>
      counts.reduce(
        (sum, n, i) => sum + lnGamma(k * shares[i]! + n) - lnGamma(k * shares[i]!) - n * Math.log(shares[i]!),
        lnGamma(k) - lnGamma(k + counts.reduce((a, b) => a + b, 0)),
      );
    const ratio = new SequentialRatio(3);
    const counts = [0, 0, 0];
    let least = 1;
    for (let i = 0; i < 400; i++) {
      const arm = draw(random, [0.6, 0.3, 0.1]);
      counts[arm]!++;
      ratio.add(arm, shares);
      least = Math.min(least, 2 / (Math.exp(logFactor(counts, 10)) + Math.exp(logFactor(counts, 1000))));
      expect(Math.abs(ratio.p / least - 1)).toBeLessThan(1e-9);
    }
    expect(ratio.p).toBeLessThan(0.01);
  });

  // At the end of 1,000 units of an arm with 99 %; by Python's math.lgamma.
  it('equals Python’s figure', () => {
    expect(evenRatio([1000, 0], [99, 1]).alwaysValidP).toBeCloseTo(0.00014, 5);
  });

  it.each([
    [[60, 20], [1, 1], false],
    [[27, 3, 0], [98, 1, 1], true],
    [[18, 2], [99, 1], true],
    [[3, 1], [98, 2], true],
    [[5, 0], [1, 1], true],
    [[12, 3], [1, 1], true],
    [[0, 30], [9, 1], false],
  ])('tells real losses and leaves few units alone: %j of %j is as planned: %j', (counts, weights, ok) => {
    expect(evenRatio(counts, weights).ok).toBe(ok);
  });

  it('compares by the exact test where an arm expects fewer than 5 units', () => {
    expect(evenRatio([18, 2], [99, 1])).toMatchObject({ test: 'exact', p: expect.closeTo(0.016859, 6) });
    expect(evenRatio([496, 504], [1, 1])).toMatchObject({ test: 'chi_square', p: expect.closeTo(0.8003, 4) });
    expect(evenRatio([4000, 1, 1, 1], [997, 1, 1, 1]).p).toBeUndefined();
  });

  it.each([[[1, 1]], [[9, 1]], [[99, 1]], [[98, 1, 1]], [[5, 3, 1, 1]]])(
    'refuses at most α of sound experiments at any time: %j',
    (weights) => {
      const phases = [{ planned: sharesOf(weights), units: 3000 }];
      expect(refused(phases, { runs: 1000, seed: 11 })).toBeLessThanOrEqual(ALPHA);
    },
  );

  it('refuses at most α of ramps: weights that change are no loss', () => {
    const ramp = [
      [99, 1],
      [95, 5],
      [4, 1],
      [1, 1],
      [1, 9],
    ].map((w) => ({ planned: sharesOf(w), units: 700 }));
    expect(refused(ramp, { runs: 1000, seed: 12 })).toBeLessThanOrEqual(ALPHA);
    // An arm that is added later has no share before.
    const added = [
      [1, 1, 0],
      [1, 1, 1],
    ].map((w) => ({ planned: sharesOf(w), units: 1500 }));
    expect(refused(added, { runs: 1000, seed: 13 })).toBeLessThanOrEqual(ALPHA);
  });

  it('tells a loss of 2 % in one arm at 400,000 units, also on a ramp', () => {
    const kept = [1, 0.98];
    expect(refused([{ planned: [0.5, 0.5], units: 400_000, kept }], { runs: 20, seed: 14 })).toBeGreaterThanOrEqual(
      0.9,
    );
    const ramp = [
      [9, 1],
      [1, 1],
    ].map((w, i) => ({ planned: sharesOf(w), units: i === 0 ? 50_000 : 400_000, kept }));
    expect(refused(ramp, { runs: 20, seed: 15 })).toBeGreaterThanOrEqual(0.9);
  });

  it('tells coarse losses early: a third of the units of one arm at 600', () => {
    const phases = [{ planned: [0.5, 0.5], units: 800, kept: [1, 0.67] }];
    expect(refused(phases, { runs: 200, seed: 16 })).toBeGreaterThanOrEqual(0.9);
  });

  it('a verdict stays: later units do not take it back', () => {
    const ratio = new SequentialRatio(2);
    for (let i = 0; i < 100; i++) ratio.add(i % 4 === 0 ? 1 : 0, [0.5, 0.5]);
    const { p } = ratio;
    for (let i = 0; i < 1000; i++) ratio.add(i % 2, [0.5, 0.5]);
    expect(ratio.p).toBeLessThanOrEqual(p);
  });
});
