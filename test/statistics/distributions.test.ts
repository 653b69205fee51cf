import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { chiSquared, type Distribution, fisherF, normal, studentT } from '../../src/statistics/distributions.ts';
import { betaI, gammaP, gammaQ, lnGamma } from '../../src/statistics/special.ts';
import { studentizedRange } from '../../src/statistics/studentized-range.ts';

interface Grid {
  args: number[];
  x: number[];
  cdf: number[];
  sf: number[];
  p: number[];
  quantile: number[];
}

const vectors = JSON.parse(readFileSync(join(import.meta.dirname, 'vectors', 'scipy.json'), 'utf8')) as Record<
  string,
  Grid[]
>;

/** Compares by relative error, so that far tails are checked too. */
function expectClose(got: number, wanted: number, tolerance: number): void {
  const error = Math.abs(got - wanted) / Math.max(Math.abs(wanted), 1e-200);
  expect(error, `${got} against ${wanted}`).toBeLessThan(tolerance);
}

describe.each([
  ['normal', () => normal],
  ['t', studentT],
  ['chi2', chiSquared],
  ['f', fisherF],
] as [string, (...args: number[]) => Distribution][])('%s', (name, make) => {
  it.each(vectors[name]!)('equals SciPy with parameters $args, tails and quantiles included', (grid) => {
    const distribution = make(...grid.args);
    grid.x.forEach((x, i) => {
      expectClose(distribution.cdf(x), grid.cdf[i]!, 1e-10);
      expectClose(distribution.sf(x), grid.sf[i]!, 1e-10);
    });
    grid.p.forEach((p, i) => {
      expectClose(distribution.quantile(p), grid.quantile[i]!, p === 0.5 ? 1e-6 : 1e-9);
    });
  });
});

describe('studentized range', () => {
  it.each(vectors.range!)('equals SciPy with k and df $args', ({ args, x, cdf, p, quantile }) => {
    const distribution = studentizedRange(args[0]!, args[1] ?? Number.POSITIVE_INFINITY);
    x.forEach((q, i) => {
      expect(distribution.cdf(q)).toBeCloseTo(cdf[i]!, 8);
    });
    p.forEach((share, i) => {
      expectClose(distribution.quantile(share), quantile[i]!, 1e-7);
    });
  });
});

describe('special functions', () => {
  it('equal factorials', () => {
    let factorial = 1;
    for (let n = 1; n <= 60; n++) {
      factorial *= n;
      expectClose(Math.exp(lnGamma(n + 1) - Math.log(factorial)), 1, 1e-12);
    }
    expectClose(lnGamma(0.5), Math.log(Math.PI) / 2, 1e-14);
  });

  it('are whole: both halves add to 1, ends are exact', () => {
    for (const a of [0.3, 1, 8, 120])
      for (const x of [0.01, 1, 7, 200]) expectClose(gammaP(a, x) + gammaQ(a, x), 1, 1e-13);
    expect([gammaP(2, 0), gammaQ(2, 0), betaI(2, 3, 0), betaI(2, 3, 1)]).toEqual([0, 1, 0, 1]);
    expect([gammaP(2, Infinity), gammaQ(2, Infinity)]).toEqual([1, 0]);
    expectClose(betaI(2.5, 4, 0.3) + betaI(4, 2.5, 0.7), 1, 1e-13);
  });

  it('quantiles at and outside the ends', () => {
    expect([normal.quantile(0), normal.quantile(1), normal.quantile(0.5)]).toEqual([-Infinity, Infinity, 0]);
    expect(normal.quantile(1.5)).toBeNaN();
    expect([chiSquared(3).quantile(0), chiSquared(3).quantile(1)]).toEqual([0, Infinity]);
  });
});
