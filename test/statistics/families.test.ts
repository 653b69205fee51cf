import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareWithBaseline } from '../../src/statistics/comparison.ts';
import { adjust } from '../../src/statistics/corrections.ts';
import { cliques, criticalDifference, friedman } from '../../src/statistics/friedman.ts';
import { mean } from '../../src/statistics/samples.ts';
import { pairedT } from '../../src/statistics/t-tests.ts';

interface Vectors {
  paired: { a: number[]; b: number[] }[];
  friedman: { blocks: number[][]; statistic: number; p: number; averageRanks: number[] }[];
  corrections: { p: number[]; benjaminiHochberg: number[] }[];
}

const vectors = JSON.parse(readFileSync(join(import.meta.dirname, 'vectors', 'scipy.json'), 'utf8')) as Vectors;

describe('Friedman and Nemenyi', () => {
  it.each(vectors.friedman)('equals SciPy, tie correction included ($statistic)', (v) => {
    const got = friedman(v.blocks);
    expect(got.statistic).toBeCloseTo(v.statistic, 8);
    expect(got.p).toBeCloseTo(v.p, 10);
    got.averageRanks.forEach((r, i) => {
      expect(r).toBeCloseTo(v.averageRanks[i]!, 12);
    });
    expect(friedman(v.blocks, { tieCorrection: false }).statistic).toBeLessThanOrEqual(got.statistic + 1e-9);
  });

  it('critical differences are those of Demšar’s table', () => {
    const q05 = [1.96, 2.343, 2.569, 2.728, 2.85, 2.949, 3.031, 3.102, 3.164];
    q05.forEach((q, i) => {
      const k = i + 2;
      expect(Math.abs(criticalDifference(k, 1) / Math.sqrt((k * (k + 1)) / 6) - q)).toBeLessThan(0.0011);
    });
  });

  it('cliques are maximal and ordered', () => {
    expect(cliques([3.6, 1.8, 2.2, 3.7, 5.7], 1)).toEqual([
      [1, 2],
      [0, 3],
    ]);
    expect(cliques([1, 2, 3], 1)).toEqual([
      [0, 1],
      [1, 2],
    ]);
    expect(cliques([1, 5], 1)).toEqual([]);
  });

  it('refuses uneven blocks and a single treatment', () => {
    expect(() => friedman([[1, 2], [1]])).toThrow('expected 2 values in every block, got 1 in block 2');
    expect(() => friedman([[1]])).toThrow('expected at least 2 treatments');
  });
});

describe('corrections', () => {
  it.each(vectors.corrections)('Benjamini–Hochberg equals SciPy', ({ p, benjaminiHochberg }) => {
    adjust(p, 'benjamini-hochberg').forEach((value, i) => {
      expect(value).toBeCloseTo(benjaminiHochberg[i]!, 12);
    });
  });

  it('Holm and Bonferroni equal hand-computed values', () => {
    expect(adjust([0.01, 0.04, 0.03, 0.005], 'holm')).toEqual([0.03, 0.06, 0.06, 0.02]);
    expect(adjust([0.01, 0.4], 'bonferroni')).toEqual([0.02, 0.8]);
    expect(adjust([0.7, 0.9], 'bonferroni')).toEqual([1, 1]);
    expect(adjust([0.2], 'none')).toEqual([0.2]);
  });

  it('NaN neither changes nor counts: the baseline is no member of its family', () => {
    const p = [0.01, 0.04, 0.03];
    for (const kind of ['holm', 'bonferroni', 'benjamini-hochberg'] as const)
      expect(adjust([p[0]!, Number.NaN, p[1]!, p[2]!], kind).filter((x) => !Number.isNaN(x))).toEqual(adjust(p, kind));
  });

  it('is never below p, never above Bonferroni, and keeps the order', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 12 }), (p) => {
        const bonferroni = adjust(p, 'bonferroni');
        const holm = adjust(p, 'holm');
        const bh = adjust(p, 'benjamini-hochberg');
        p.forEach((value, i) => {
          expect(bh[i]!).toBeGreaterThanOrEqual(value - 1e-15);
          expect(holm[i]!).toBeGreaterThanOrEqual(bh[i]! - 1e-12);
          expect(bonferroni[i]!).toBeGreaterThanOrEqual(holm[i]! - 1e-12);
          p.forEach((other, j) => {
            if (value < other) expect(holm[i]!).toBeLessThanOrEqual(holm[j]!);
          });
        });
      }),
    );
  });
});

describe('comparison with a baseline', () => {
  const { a, b } = vectors.paired.at(-2)!;
  const worse = a.map((x) => x - 0.2 + (x % 0.01));

  it('corrects over the other systems only', () => {
    const rows = compareWithBaseline(
      a,
      new Map([
        ['b', b],
        ['worse', worse],
      ]),
      { correction: 'bonferroni' },
    );
    expect(rows.map((row) => row.system)).toEqual(['b', 'worse']);
    expect(rows[0]!.adjustedP).toBeCloseTo(Math.min(1, 2 * pairedT(b, a).p), 12);
    expect(rows[1]!.significant).toBe(true);
    expect(rows[1]!.difference).toBeCloseTo(mean(worse) - mean(a), 12);
    expect(rows[1]!.interval[1]).toBeLessThan(0);
  });

  it('a system equal to the baseline is not significant and does not spoil the family', () => {
    const rows = compareWithBaseline(
      a,
      new Map([
        ['same', a],
        ['worse', worse],
      ]),
    );
    expect(rows[0]).toMatchObject({ p: 1, adjustedP: 1, significant: false, interval: [0, 0] });
    expect(rows[1]!.adjustedP).toBeCloseTo(2 * rows[1]!.p, 15);
  });

  it.each(['t', 'randomisation', 'wilcoxon'] as const)('%s repeats with the seed', (test) => {
    const run = () => compareWithBaseline(a, new Map([['b', b]]), { test, seed: 5 });
    expect(run()).toEqual(run());
  });
});
