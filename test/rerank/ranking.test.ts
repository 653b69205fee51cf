import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkScores, neverRising, rank, rankOrder, relevanceScore } from '../../src/rerank/ranking.ts';

const logit = fc.float({ noNaN: true });

/** The next larger fp32 value. */
function nextUp(x: number): number {
  const float = new Float32Array([x]);
  const bits = new Int32Array(float.buffer);
  if (x === 0) bits[0] = 1;
  else bits[0]! += x > 0 ? 1 : -1;
  return float[0]!;
}

describe('ranking', () => {
  it('orders by descending score, ties by ascending index, every passage once', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(logit, fc.constantFrom(0, -0, 1, 1, Infinity, -Infinity)), { maxLength: 200 }),
        (list) => {
          const scores = Float32Array.from(list);
          const order = rankOrder(scores);
          expect([...order].sort((a, b) => a - b)).toEqual(list.map((_, i) => i));
          for (let i = 1; i < order.length; i++) {
            const [a, b] = [order[i - 1]!, order[i]!];
            expect(scores[a]! > scores[b]! || (scores[a]! === scores[b]! && a < b)).toBe(true);
          }
        },
      ),
    );
  });

  it('decides on scores where relevance scores no longer differ', () => {
    const ranking = rank(Float32Array.of(20, 21, 22), 'sigmoid');
    expect(ranking.map(({ index }) => index)).toEqual([2, 1, 0]);
    expect(new Set(ranking.map((item) => item.relevanceScore))).toEqual(new Set([1]));
  });
});

describe('relevance score', () => {
  it('is an fp32 value in 0–1, never NaN, and keeps the order', () => {
    fc.assert(
      fc.property(logit, logit, (a, b) => {
        const [x, y] = [relevanceScore(a, 'sigmoid'), relevanceScore(b, 'sigmoid')];
        expect(x).toBeGreaterThanOrEqual(0);
        expect(x).toBeLessThanOrEqual(1);
        expect(Math.fround(x)).toBe(x);
        if (a < b) expect(x).toBeLessThanOrEqual(y);
      }),
      { numRuns: 2000 },
    );
  });

  it('keeps the order of neighboring fp32 logits', () => {
    fc.assert(
      fc.property(fc.float({ min: -110, max: 110, noNaN: true }), (x) => {
        expect(relevanceScore(x, 'sigmoid')).toBeLessThanOrEqual(relevanceScore(nextUp(x), 'sigmoid'));
      }),
      { numRuns: 5000 },
    );
  });

  it('knows its known values', () => {
    // 1 / (1 + e^-x), rounded to fp32.
    expect(relevanceScore(0, 'sigmoid')).toBe(0.5);
    expect(relevanceScore(1, 'sigmoid')).toBe(Math.fround(0.7310585786300049));
    expect(relevanceScore(-8.154390335083008, 'sigmoid')).toBeCloseTo(2.8739e-4, 8);
    expect(relevanceScore(Number.NEGATIVE_INFINITY, 'sigmoid')).toBe(0);
    expect(relevanceScore(Number.POSITIVE_INFINITY, 'sigmoid')).toBe(1);
    expect(relevanceScore(-3.25, 'none')).toBe(-3.25);
  });

  it('a score that is no number is an error that names the passage', () => {
    expect(() => checkScores(Float32Array.of(1, Number.NaN, Number.NaN))).toThrow('row 1');
    expect(() => checkScores(Float32Array.of(1, Infinity))).not.toThrow();
  });
});

describe('merged rankings', () => {
  it('never rise, keep their order, and leave what already falls alone', () => {
    const item = fc.record({
      index: fc.nat(),
      score: logit,
      relevanceScore: fc.float({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(item, { maxLength: 50 }), (list) => {
        const lowered = neverRising(list);
        expect(lowered.map(({ index }) => index)).toEqual(list.map(({ index }) => index));
        const stable = [...lowered].sort((a, b) => b.relevanceScore - a.relevanceScore || 0);
        expect(stable).toEqual(lowered);
        for (const [i, one] of lowered.entries()) expect(one.score).toBeLessThanOrEqual(list[i]!.score);
        expect(neverRising(lowered)).toEqual(lowered);
      }),
    );
  });
});
