import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compare, estimate } from '../../../src/experiments/analysis/estimates.ts';
import { metricSections } from '../../../src/experiments/analysis/metric-sections.ts';
import { Moments } from '../../../src/experiments/analysis/moments.ts';
import { stratified } from '../../../src/experiments/analysis/strata.ts';
import { Tally } from '../../../src/experiments/analysis/tally.ts';
import { checkExperiment, configHash } from '../../../src/experiments/definitions/definition.ts';
import { createRandom } from '../../../src/util/random.ts';
import { SPLIT } from '../lab.ts';

const of = (values: readonly number[]) => {
  const moments = new Moments();
  for (const value of values) moments.add(value, 1, 0);
  return moments;
};

const mean = (x: readonly number[]) => x.reduce((a, b) => a + b, 0) / x.length;
const variance = (x: readonly number[]) => x.reduce((a, b) => a + (b - mean(x)) ** 2, 0) / (x.length - 1);

describe('moments', () => {
  it('absorbed are those of all units', () => {
    const value = fc.double({ min: -100, max: 100, noNaN: true });
    fc.assert(
      fc.property(fc.array(value, { maxLength: 20 }), fc.array(value, { maxLength: 20 }), (a, b) => {
        const [both, all] = [of(a), of([...a, ...b])];
        both.absorb(of(b));
        expect(both.n).toBe(all.n);
        expect(both.mean(0)).toBeCloseTo(all.mean(0), 9);
        if (all.n > 1) expect(both.covariance(0, 0)).toBeCloseTo(all.covariance(0, 0), 6);
      }),
    );
  });
});

describe('arms compared stratum by stratum', () => {
  it('differ by the mean of the differences, weighted by their precision', () => {
    const value = fc.double({ min: -10, max: 10, noNaN: true });
    const stratum = fc.tuple(
      fc.array(value, { minLength: 2, maxLength: 9 }),
      fc.array(value, { minLength: 2, maxLength: 9 }),
    );
    fc.assert(
      fc.property(fc.array(stratum, { minLength: 1, maxLength: 4 }), (strata) => {
        const pair = stratified(
          strata.map(([a]) => of(a)),
          strata.map(([, b]) => of(b)),
        )!;
        const weight = strata.map(([a, b]) => 1 / (1 / a.length + 1 / b.length));
        const all = weight.reduce((x, y) => x + y, 0);
        const difference = strata.reduce((sum, [a, b], s) => sum + (weight[s]! / all) * (mean(b) - mean(a)), 0);
        const error = strata.reduce(
          (sum, [a, b], s) => sum + (weight[s]! / all) ** 2 * (variance(a) / a.length + variance(b) / b.length),
          0,
        );
        const [a, b] = pair.map((moments) => estimate(moments, false));
        const found = compare(a!, b!)!;
        expect(found.difference).toBeCloseTo(difference, 9);
        expect(found.standardError).toBeCloseTo(Math.sqrt(error), 9);
      }),
    );
  });

  it('strata without units of an arm count for none', () => {
    expect(stratified([of([1, 2]), of([5, 6])], [of([3]), of([])])).toBeUndefined();
    expect(stratified([of([1, 2]), of([5, 7])], [of([3]), of([8, 9])])![0].mean(0)).toBe(6);
  });

  it('a metric that moves over time is no effect of changed weights: of 200 ramps without one at most α', () => {
    const definitions = [9, 1].map((weight) =>
      checkExperiment(
        { ...SPLIT, name: 'trial', arms: SPLIT.arms.map((arm, i) => ({ ...arm, weight: i ? 1 : weight })) },
        'test',
      ),
    );
    const history = new Map(definitions.map((one) => [configHash(one), one]));
    let [found, pooled] = [0, 0];
    for (let run = 0; run < 200; run++) {
      const random = createRandom(run);
      const tally = new Tally(definitions[1]!);
      for (let i = 0; i < 2000; i++) {
        const late = i >= 1000;
        const arm = random.next() < (late ? 0.5 : 0.1) ? 'b' : 'a';
        const sums = { clicks: (late ? 1.5 : 1) + random.normal() };
        const hash = configHash(definitions[late ? 1 : 0]!);
        const row = { unit: `${i}`, arm, firstArm: arm, firstAt: i, configHash: hash, exposures: 1, sums, before: {} };
        tally.add({ ...row, crossed: false });
      }
      const effect = (known?: typeof history) =>
        metricSections(definitions[1]!, tally, 0.05, known)[0]!.comparisons[0]!.effect;
      if (effect(history) !== 'none') found++;
      if (effect() !== 'none') pooled++;
    }
    expect(found).toBeLessThanOrEqual(10);
    expect(pooled).toBeGreaterThan(100);
  });
});
