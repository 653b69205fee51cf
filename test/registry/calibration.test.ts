import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { calibrationSchema, probabilityOf, type ScoreMap } from '../../src/registry/calibration.ts';
import { rank, relevanceScore } from '../../src/rerank/ranking.ts';

const ISOTONIC: ScoreMap = { method: 'isotonic', scores: [-1, 0, 2], probabilities: [0.1, 0.3, 0.9] };

const rising = (lowest: number, most: number) =>
  fc
    .uniqueArray(fc.double({ min: lowest, max: most, noNaN: true, noDefaultInfinity: true }), {
      minLength: 1,
      maxLength: 12,
    })
    .map((values) => [...new Set(values)].sort((a, b) => a - b));

const maps: fc.Arbitrary<ScoreMap> = fc.oneof(
  fc.record({
    method: fc.constant('platt' as const),
    slope: fc.double({ min: 1e-3, max: 100, noNaN: true }),
    intercept: fc.double({ min: -50, max: 50, noNaN: true }),
  }),
  fc.tuple(rising(-30, 30), rising(1e-6, 1 - 1e-6)).map(([scores, probabilities]) => {
    const count = Math.min(scores.length, probabilities.length);
    return {
      method: 'isotonic' as const,
      scores: scores.slice(0, count),
      probabilities: probabilities.slice(0, count),
    };
  }),
);

describe('a map from scores to probabilities', () => {
  it('Platt: the logistic curve', () => {
    const map: ScoreMap = { method: 'platt', slope: 2, intercept: -1 };
    expect(probabilityOf(map, 0.5)).toBe(0.5);
    expect(probabilityOf(map, 1)).toBeCloseTo(1 / (1 + Math.exp(-1)), 15);
    expect([Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY].map((x) => probabilityOf(map, x))).toEqual([0, 1]);
  });

  it('isotonic: points, straight lines between them, and log-odds that rise by 1 a score beyond them', () => {
    expect([-1, 0, 2].map((x) => probabilityOf(ISOTONIC, x))).toEqual([
      expect.closeTo(0.1, 15),
      0.3,
      expect.closeTo(0.9, 15),
    ]);
    expect(probabilityOf(ISOTONIC, -0.5)).toBeCloseTo(0.2, 15);
    expect(probabilityOf(ISOTONIC, 1.5)).toBeCloseTo(0.75, 15);
    const logOdds = (p: number) => Math.log(p / (1 - p));
    expect(logOdds(probabilityOf(ISOTONIC, 5))).toBeCloseTo(logOdds(0.9) + 3, 10);
    expect(logOdds(probabilityOf(ISOTONIC, -3))).toBeCloseTo(logOdds(0.1) - 2, 10);
    expect([Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY].map((x) => probabilityOf(ISOTONIC, x))).toEqual([0, 1]);
  });

  it('never falls and stays within 0 and 1, in float32 too, at points and between them', () => {
    fc.assert(
      fc.property(maps, fc.array(fc.float({ min: -100, max: 100, noNaN: true }), { minLength: 2 }), (map, some) => {
        const points =
          map.method === 'isotonic' ? map.scores.flatMap((x) => [x, Math.fround(x), x - 1e-9, x + 1e-9]) : [];
        const scores = [...some, ...points].sort((a, b) => a - b);
        const found = scores.map((score) => relevanceScore(score, map));
        found.forEach((p, i) => {
          expect(p >= 0 && p <= 1).toBe(true);
          expect(p).toBe(Math.fround(p));
          if (i > 0) expect(p).toBeGreaterThanOrEqual(found[i - 1]!);
        });
      }),
      { numRuns: 300 },
    );
  });

  it('keeps the order of a ranking, which is that of the logits', () => {
    const scores = Float32Array.of(0.5, 30, -4, 29, 0.5);
    const ranked = rank(scores, ISOTONIC);
    expect(ranked.map(({ index }) => index)).toEqual(rank(scores, 'sigmoid').map(({ index }) => index));
    expect(ranked.map(({ score }) => score)).toEqual([30, 29, 0.5, 0.5, -4]);
  });
});

describe('the field calibration of model.json', () => {
  const facts = {
    sha256: 'a'.repeat(64),
    map: ISOTONIC,
    lists: 3,
    pairs: 30,
    relevant: 4,
    data: [],
    logLoss: { before: 1, after: 0.5 },
    calibrationError: { before: 0.2, after: 0.1 },
  };
  it.each([
    [{ method: 'isotonic', scores: [0, 0], probabilities: [0.1, 0.2] }, 'scores that do not rise'],
    [{ method: 'isotonic', scores: [0, 1], probabilities: [0.2, 0.1] }, 'probabilities that fall'],
    [{ method: 'isotonic', scores: [0, 1], probabilities: [0.2] }, 'too few probabilities'],
    [{ method: 'isotonic', scores: [0], probabilities: [1] }, 'certainty'],
    [{ method: 'isotonic', scores: [], probabilities: [] }, 'no points'],
    [{ method: 'platt', slope: 0, intercept: 0 }, 'a flat curve'],
    [{ method: 'platt', slope: -1, intercept: 0 }, 'a falling curve'],
    [{ method: 'linear' }, 'another method'],
  ])('%o: %s is refused', (map, _why) => {
    expect(calibrationSchema.safeParse(facts).success).toBe(true);
    expect(calibrationSchema.safeParse({ ...facts, map }).success).toBe(false);
  });
});
