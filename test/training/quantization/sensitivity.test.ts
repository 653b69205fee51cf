import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chooseKept, varianceOf } from '../../../src/training/quantization/sensitivity.ts';

const group = fc.record({ variance: fc.double({ min: 0, max: 1, noNaN: true }), work: fc.integer({ min: 1, max: 9 }) });

describe('chooseKept', () => {
  const groups = [
    { variance: 0.01, work: 1 },
    { variance: 0.36, work: 4 },
    { variance: 0.04, work: 1 },
    { variance: 0.09, work: 4 },
  ];

  it('takes the most variance for the work, until the rest is below the noise', () => {
    // Of 0.5, 0.1² · 36 = 0.36 is allowed.
    expect(chooseKept({ variance: 36, groups }, { noise: 0.1, share: 1 })).toEqual(new Set([1]));
    expect(chooseKept({ variance: 10, groups }, { noise: 0.1, share: 1 })).toEqual(new Set([1, 2]));
    expect(chooseKept({ variance: 50, groups }, { noise: 0.1, share: 1 })).toEqual(new Set());
  });

  it('skips groups that exceed the share of work', () => {
    expect(chooseKept({ variance: 0, groups }, { noise: 0.1, share: 0.3 })).toEqual(new Set([2, 0]));
  });

  it('keeps at most the share, and stops there or when the rest is below the noise', () => {
    fc.assert(
      fc.property(fc.array(group, { maxLength: 12 }), fc.double({ min: 0, max: 1, noNaN: true }), (all, share) => {
        const kept = chooseKept({ variance: 4, groups: all }, { noise: 0.2, share });
        const work = all.reduce((sum, g) => sum + g.work, 0);
        const own = [...kept].reduce((sum, i) => sum + all[i]!.work, 0);
        expect(own).toBeLessThanOrEqual(share * work + 1e-9);
        const left = all.reduce((sum, g, i) => (kept.has(i) ? sum : sum + g.variance), 0);
        const fits = all.some((g, i) => !kept.has(i) && g.work <= share * work - own - 1e-9);
        if (left > 0.2 ** 2 * 4 + 1e-9) expect(fits).toBe(false);
      }),
      { seed: 1 },
    );
  });
});

describe('varianceOf', () => {
  it('does not change with a constant', () => {
    expect(varianceOf([1, 3])).toBe(1);
    expect(varianceOf([101, 103])).toBe(1);
  });
});
