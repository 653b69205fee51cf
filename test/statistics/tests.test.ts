import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bootstrapInterval, intervalOf } from '../../src/statistics/bootstrap.ts';
import { goodnessOfFit } from '../../src/statistics/chi-square.ts';
import { randomizationTest } from '../../src/statistics/randomization.ts';
import { kendall, rankBiasedOverlap } from '../../src/statistics/rank-correlation.ts';
import { mean, sum } from '../../src/statistics/samples.ts';
import { pairedT } from '../../src/statistics/t-tests.ts';
import { wilcoxon } from '../../src/statistics/wilcoxon.ts';
import { createRandom } from '../../src/util/random.ts';

interface TVector {
  statistic: number;
  p: number;
  df: number;
  interval: number[];
}

interface Vectors {
  paired: {
    kind: string;
    a: number[];
    b: number[];
    t: TVector;
    wilcoxon: { statistic: number; p: number };
    wilcoxonNormal: number;
    wilcoxonCorrected: number;
    randomisation: number | null;
    kendall: number[];
  }[];
  chiSquare: {
    fit: { observed: number[]; shares: number[]; result: number[] }[];
  };
  bootstrap: { values: number[]; distribution: number[]; percentile: number[]; bca: number[] }[];
}

const vectors = JSON.parse(readFileSync(join(import.meta.dirname, 'vectors', 'scipy.json'), 'utf8')) as Vectors;

describe.each(vectors.paired.map((v) => [`${v.a.length} pairs, ${v.kind}`, v] as const))('%s', (_, v) => {
  it('paired t equals SciPy', () => {
    const got = pairedT(v.a, v.b);
    expect(got.statistic).toBeCloseTo(v.t.statistic, 9);
    expect(got.p).toBeCloseTo(v.t.p, 10);
    expect(got.df).toBeCloseTo(v.t.df, 8);
    expect(got.interval[0]).toBeCloseTo(v.t.interval[0]!, 9);
    expect(got.interval[1]).toBeCloseTo(v.t.interval[1]!, 9);
  });

  it('Wilcoxon equals SciPy in its default mode and in both approximations', () => {
    const got = wilcoxon(v.a, v.b);
    expect(got.statistic).toBeCloseTo(v.wilcoxon.statistic, 9);
    expect(got.p).toBeCloseTo(v.wilcoxon.p, 9);
    expect(wilcoxon(v.a, v.b, { method: 'normal' }).p).toBeCloseTo(v.wilcoxonNormal, 9);
    expect(wilcoxon(v.a, v.b, { method: 'normal', correction: true }).p).toBeCloseTo(v.wilcoxonCorrected, 9);
  });

  it('Kendall’s τ equals SciPy', () => {
    const got = kendall(v.a, v.b);
    expect(got.statistic).toBeCloseTo(v.kendall[0]!, 10);
    expect(got.p).toBeCloseTo(v.kendall[1]!, 9);
  });
});

describe('randomisation', () => {
  it.each(vectors.paired.filter((v) => v.randomisation !== null))('equals SciPy over all assignments', (v) => {
    expect(randomizationTest(v.a, v.b).p).toBeCloseTo(v.randomisation!, 12);
  });

  it('drawn assignments come near the exact share and repeat with the seed', () => {
    const a = Array.from({ length: 17 }, (_, i) => (i * 7) % 11);
    const b = Array.from({ length: 17 }, (_, i) => (i * 5) % 9);
    const drawn = () => randomizationTest(a, b, { random: createRandom(3), resamples: 20_000 }).p;
    expect(drawn()).toBe(drawn());
    const signs = Array.from({ length: 2 ** 17 }, (_, bits) =>
      a.reduce((total, x, i) => total + ((bits >> i) & 1 ? x - b[i]! : b[i]! - x), 0),
    );
    const exact = signs.filter((s) => Math.abs(s) >= Math.abs(sum(a) - sum(b))).length / signs.length;
    expect(Math.abs(drawn() - exact)).toBeLessThan(0.015);
  });

  it('is never 0, and 1 for equal samples', () => {
    const a = Array.from({ length: 60 }, (_, i) => i / 60);
    expect(
      randomizationTest(
        a,
        a.map((x) => x - 1),
        { resamples: 500 },
      ).p,
    ).toBe(1 / 501);
    expect(randomizationTest([1, 2, 3], [1, 2, 3]).p).toBe(1);
  });
});

describe('degenerate samples', () => {
  it('t of equal samples is NaN as in SciPy; Wilcoxon has nothing to rank', () => {
    expect(pairedT([1, 2, 3], [1, 2, 3]).p).toBeNaN();
    expect(wilcoxon([1, 2, 3], [1, 2, 3]).p).toBe(1);
  });

  it('samples of unequal length are refused', () => {
    expect(() => pairedT([1, 2], [1, 2, 3])).toThrow('expected as many values in both (2), got 3');
  });

  it('sums keep small values beside large ones', () => {
    expect(sum([1e16, 1, -1e16, 1])).toBe(2);
  });
});

describe('χ²', () => {
  it.each(vectors.chiSquare.fit)('goodness of fit of $observed equals SciPy', ({ observed, shares, result }) => {
    const got = goodnessOfFit(observed, shares);
    expect(got.statistic).toBeCloseTo(result[0]!, 9);
    expect(got.p).toBeCloseTo(result[1]!, 11);
  });

  it('refuses one count', () => {
    expect(() => goodnessOfFit([4])).toThrow('at least 2 counts');
  });
});

describe('bootstrap', () => {
  it.each(vectors.bootstrap)('intervals of SciPy’s own distribution equal SciPy’s', (v) => {
    const values = Float64Array.from(v.values);
    const distribution = Float64Array.from(v.distribution);
    for (const [method, wanted] of [
      ['percentile', v.percentile],
      ['bca', v.bca],
    ] as const) {
      const got = intervalOf(distribution, values, mean, 0.95, method);
      expect(got[0]).toBeCloseTo(wanted[0]!, 10);
      expect(got[1]).toBeCloseTo(wanted[1]!, 10);
    }
  });

  it('repeats with the seed and holds the mean about as often as it says', () => {
    const random = createRandom(11);
    let held = 0;
    for (let i = 0; i < 200; i++) {
      const values = Array.from({ length: 40 }, () => random.normal() ** 2);
      const [low, high] = bootstrapInterval(values, mean, { resamples: 400, level: 0.9, random });
      if (low <= 1 && 1 <= high) held++;
    }
    expect(held).toBeGreaterThan(160);
    expect(held).toBeLessThan(196);
    const again = () => bootstrapInterval([1, 5, 2, 8], mean, { random: createRandom(1), resamples: 200 });
    expect(again()).toEqual(again());
  });

  it('a sample without spread is its own interval', () => {
    expect(bootstrapInterval([0, 0, 0])).toEqual([0, 0]);
  });
});

describe('rank-biased overlap', () => {
  /** Equation 32 term by term, on sets. */
  function naive(a: string[], b: string[], p: number): number {
    const [short, long] = a.length <= b.length ? [a, b] : [b, a];
    const [s, l] = [short.length, long.length];
    const x = (d: number) => {
      const head = new Set(short.slice(0, d));
      return long.slice(0, d).filter((id) => head.has(id)).length;
    };
    let first = 0;
    for (let d = 1; d <= l; d++) first += (x(d) / d) * p ** d;
    for (let d = s + 1; d <= l; d++) first += ((x(s) * (d - s)) / (s * d)) * p ** d;
    return ((1 - p) / p) * first + ((x(l) - x(s)) / l + x(s) / s) * p ** l;
  }

  const ids = fc.uniqueArray(fc.constantFrom(...'abcdefghij'), { minLength: 1, maxLength: 8 });

  it('equals the formula on sets, whatever the lengths', () => {
    fc.assert(
      fc.property(ids, ids, fc.double({ min: 0.1, max: 0.98, noNaN: true }), (a, b, p) => {
        expect(rankBiasedOverlap(a, b, p)).toBeCloseTo(naive(a, b, p), 12);
        expect(rankBiasedOverlap(a, b, p)).toBe(rankBiasedOverlap(b, a, p));
        expect(rankBiasedOverlap(a, a, p)).toBeCloseTo(1, 12);
      }),
    );
  });

  it('of disjoint or empty rankings', () => {
    expect(rankBiasedOverlap(['a'], ['b'], 0.9)).toBe(0);
    expect(rankBiasedOverlap([], ['b'], 0.9)).toBe(0);
    expect(rankBiasedOverlap([], [], 0.9)).toBe(1);
  });
});
