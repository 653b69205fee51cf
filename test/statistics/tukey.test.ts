import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { pairedT } from '../../src/statistics/t-tests.ts';
import { type TukeyModel, tukeyHsd } from '../../src/statistics/tukey.ts';
import { createRandom } from '../../src/util/random.ts';

interface Vector {
  values: number[][];
  oneWay: { p: number[][]; low: number[][]; high: number[][] };
  twoWay: { df: number; p: number[][]; reach: number };
}
const { tukey } = JSON.parse(readFileSync(join(import.meta.dirname, 'vectors', 'scipy.json'), 'utf8')) as {
  tukey: Vector[];
};

const named = (columns: readonly (readonly number[])[]) => new Map(columns.map((values, i) => [`s${i}`, values]));
const columnsOf = (rows: readonly (readonly number[])[]) => rows[0]!.map((_, j) => rows.map((row) => row[j]!));
const test = (columns: readonly (readonly number[])[], model?: TukeyModel, alpha?: number) =>
  tukeyHsd(named(columns), {
    random: createRandom(1),
    ...(model !== undefined && { model }),
    ...(alpha !== undefined && { alpha }),
  });

describe('tukeyHsd', () => {
  it.each(tukey)('equals SciPy for independent samples and for queries as blocks (df $twoWay.df)', (v) => {
    const columns = columnsOf(v.values);
    const [oneWay, twoWay] = [test(columns, 'one-way'), test(columns)];
    expect(twoWay.df).toBe(v.twoWay.df);
    expect(twoWay.honestDifference).toBeCloseTo(v.twoWay.reach, 8);
    const places = columns.flatMap((_, i) => columns.slice(i + 1).map((_, j) => [i, i + 1 + j] as const));
    expect(oneWay.pairs.map(({ first, second }) => [first, second])).toEqual(
      places.map(([i, j]) => [`s${i}`, `s${j}`]),
    );
    places.forEach(([i, j], at) => {
      expect(oneWay.pairs[at]!.p).toBeCloseTo(v.oneWay.p[i]![j]!, 7);
      expect(oneWay.pairs[at]!.interval![0]).toBeCloseTo(v.oneWay.low[i]![j]!, 7);
      expect(oneWay.pairs[at]!.interval![1]).toBeCloseTo(v.oneWay.high[i]![j]!, 7);
      expect(twoWay.pairs[at]!.p).toBeCloseTo(v.twoWay.p[i]![j]!, 7);
      expect(twoWay.pairs[at]!.significant).toBe(v.twoWay.p[i]![j]! < 0.05);
    });
  });

  const value = fc.integer({ min: 0, max: 1000 }).map((n) => n / 1000);
  const rows = (systems: number) =>
    fc.array(fc.array(value, { minLength: systems, maxLength: systems }), { minLength: 3, maxLength: 30 });

  it('of two systems is the paired t-test', () => {
    fc.assert(
      fc.property(rows(2), (blocks) => {
        const [a, b] = columnsOf(blocks);
        const [pair] = test([a!, b!]).pairs;
        const { p, difference, statistic } = pairedT(a!, b!);
        expect(pair!.difference).toBeCloseTo(difference, 12);
        if (Number.isFinite(statistic)) expect(Math.abs(pair!.p - Math.max(p, 1e-8))).toBeLessThan(1e-7);
      }),
      { numRuns: 8 },
    );
  });

  it('does not change when a query is easier for all systems', () => {
    fc.assert(
      fc.property(rows(3), fc.array(value, { minLength: 30, maxLength: 30 }), (blocks, ease) => {
        const harder = blocks.map((row, i) => row.map((x) => x + ease[i]!));
        const [before, after] = [test(columnsOf(blocks)), test(columnsOf(harder))];
        before.pairs.forEach((pair, i) => {
          if (pair.difference !== 0 && before.honestDifference > 1e-9) expect(after.pairs[i]!.p).toBeCloseTo(pair.p, 5);
        });
      }),
      { numRuns: 6 },
    );
  });

  it('randomized: agrees with the studentized range on values without ties, is exact on a small example', () => {
    const blocks = tukey[3]!.values;
    const [randomized, range] = [test(columnsOf(blocks), 'randomized'), test(columnsOf(blocks))];
    randomized.pairs.forEach((pair, i) => {
      expect(Math.abs(pair.p - range.pairs[i]!.p)).toBeLessThan(0.03);
      expect(pair.interval).toBeUndefined();
    });
    // Differences of the systems themselves widen the random ranges a little.
    expect(Math.abs(randomized.honestDifference / range.honestDifference - 1.05)).toBeLessThan(0.1);
    // Of the 2^3 assignments 2 have a mean difference as large as 1.
    expect(
      test(
        [
          [1, 1, 1],
          [0, 0, 0],
        ],
        'randomized',
      ).pairs[0]!.p,
    ).toBeCloseTo(0.25, 1);
  });

  it.each<TukeyModel>(['two-way', 'one-way', 'randomized'])('%s: equal systems have p = 1', (model) => {
    const values = [0.1, 0.5, 0.9, 0.2];
    expect(test([values, values, [0.2, 0.4, 0.1, 0.8]], model).pairs[0]).toMatchObject({ difference: 0, p: 1 });
  });

  it('a difference without any error is certain to the accuracy of the range', () => {
    expect(
      test([
        [1, 2, 3],
        [0, 1, 2],
      ]).pairs[0],
    ).toMatchObject({ difference: 1, p: 1e-8, significant: true });
  });

  it.each([
    [[[1, 2, 3]], '1 systems with 3 values'],
    [[[1], [2]], '2 systems with 1 values'],
    [
      [
        [1, 2],
        [1, 2, 3],
      ],
      '2 systems with 2 and 3 values',
    ],
  ])('%j is refused', (columns, got) => {
    expect(() => test(columns)).toThrow(
      `expected at least 2 systems with values of the same queries, at least 2, got ${got}`,
    );
  });
});
