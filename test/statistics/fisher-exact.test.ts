import { describe, expect, it } from 'vitest';
import { fisherExactGreater } from '../../src/statistics/fisher-exact.ts';

describe("Fisher's exact test, one-sided", () => {
  // By exact fractions: Σ C(n, k) C(m, h − k) / C(n + m, h) over k from a on.
  it.each([
    [20, 20, 0, 45, 3.52863082785729e-17],
    [10, 200, 0, 200, 0.0008702588772449783],
    [25, 500, 20, 500, 0.27110011929374933],
    [3, 7, 1, 40, 0.008045300367224511],
    [0, 10, 5, 10, 1],
    [60, 500, 3000, 50_000, 4.131551316864391e-7],
  ])('%i of %i against %i of %i', (a, n, b, m, p) => {
    const found = fisherExactGreater({ hits: a, trials: n }, { hits: b, trials: m });
    expect(Math.abs(found / p - 1)).toBeLessThan(1e-9);
  });

  it('without trials in one of them says nothing', () => {
    expect(fisherExactGreater({ hits: 5, trials: 5 }, { hits: 0, trials: 0 })).toBe(1);
    expect(fisherExactGreater({ hits: 0, trials: 0 }, { hits: 0, trials: 9 })).toBe(1);
  });
});
