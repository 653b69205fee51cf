import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { COVARIATE, DENOMINATOR, Moments, NUMERATOR } from '../../../src/experiments/analysis/moments.ts';

const value = fc.double({ min: -1000, max: 1000, noNaN: true });
const triple = fc.tuple(value, value, value);
type Triple = readonly [number, number, number];

const all = (rows: readonly Triple[]): Moments => {
  const moments = new Moments();
  for (const row of rows) moments.add(...row);
  return moments;
};

/** Two passes over the rows, as the textbook has it. */
function twoPass(rows: readonly Triple[], i: 0 | 1 | 2, j: 0 | 1 | 2): number {
  const mean = (k: 0 | 1 | 2) => rows.reduce((sum, row) => sum + row[k], 0) / rows.length;
  const [a, b] = [mean(i), mean(j)];
  return rows.reduce((sum, row) => sum + (row[i] - a) * (row[j] - b), 0) / (rows.length - 1);
}

const pairs = [NUMERATOR, DENOMINATOR, COVARIATE].flatMap((i) =>
  [NUMERATOR, DENOMINATOR, COVARIATE].map((j) => [i, j] as const),
);

describe('moments', () => {
  it('are those of two passes', () => {
    fc.assert(
      fc.property(fc.array(triple, { minLength: 2, maxLength: 50 }), (rows) => {
        const moments = all(rows);
        expect(moments.n).toBe(rows.length);
        for (const [i, j] of pairs) expect(moments.covariance(i, j)).toBeCloseTo(twoPass(rows, i, j), 4);
      }),
      { numRuns: 50 },
    );
  });

  it('forget a unit as if it had never been added', () => {
    fc.assert(
      fc.property(fc.array(triple, { minLength: 2, maxLength: 30 }), triple, (rows, gone) => {
        const moments = all([gone, ...rows]);
        moments.remove(...gone);
        expect(moments.n).toBe(rows.length);
        for (const [i, j] of pairs) expect(moments.covariance(i, j)).toBeCloseTo(twoPass(rows, i, j), 4);
      }),
      { numRuns: 50 },
    );
  });

  it('start anew when the last unit is gone', () => {
    const moments = all([[5, 1, 2]]);
    moments.remove(5, 1, 2);
    expect([moments.n, moments.mean(NUMERATOR)]).toEqual([0, 0]);
    expect(moments.covariance(NUMERATOR, NUMERATOR)).toBeNaN();
  });
});
