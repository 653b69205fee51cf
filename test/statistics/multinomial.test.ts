import { describe, expect, it } from 'vitest';
import { exactMultinomial } from '../../src/statistics/multinomial.ts';

describe('the exact multinomial test', () => {
  // Computed with rational numbers: Σ of the probabilities that are at most that of the observed table (Python's fractions.Fraction).
  it.each([
    [[18, 2], [99, 1], 0.01685933763565178],
    [[27, 3, 0], [98, 1, 1], 0.0075995695985731125],
    [[5, 0], [1, 1], 0.0625],
    [[3, 3, 3], [1, 1, 1], 1],
    [[7, 1, 2], [2, 1, 1], 0.50653076171875],
    [[0, 0, 0, 4], [5, 3, 1, 1], 0.0002],
    [[9, 3], [1, 1], 0.14599609375],
  ])('%j of %j', (counts, shares, p) => {
    expect(exactMultinomial(counts, shares)).toBeCloseTo(p, 12);
  });

  it('is a test: of tables drawn by the shares, at most α have p ≤ α', () => {
    const shares = [0.6, 0.3, 0.1];
    const n = 8;
    const factorial = (k: number): number => (k < 2 ? 1 : k * factorial(k - 1));
    for (const alpha of [0.01, 0.05, 0.3]) {
      let rejected = 0;
      for (let a = 0; a <= n; a++)
        for (let b = 0; a + b <= n; b++) {
          const counts = [a, b, n - a - b];
          const ways = factorial(n) / counts.reduce((product, k) => product * factorial(k), 1);
          const probability = counts.reduce((product, k, i) => product * shares[i]! ** k, ways);
          if (exactMultinomial(counts, shares)! <= alpha) rejected += probability;
        }
      expect(rejected).toBeLessThanOrEqual(alpha);
      expect(rejected).toBeGreaterThan(0);
    }
  });

  it('says nothing of too many tables, and refuses what is no table', () => {
    expect(exactMultinomial([400, 400, 400, 3], [1, 1, 1, 1])).toBeUndefined();
    expect(() => exactMultinomial([1], [1])).toThrow('at least 2 counts');
    expect(() => exactMultinomial([1, 2], [1, 0])).toThrow('a positive share');
  });
});
