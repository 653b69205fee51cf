import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { blendScores } from '../../src/util/blend.ts';

const list = fc.array(fc.tuple(fc.integer({ min: -40, max: 40 }), fc.integer({ min: -40, max: 40 })), {
  minLength: 1,
  maxLength: 30,
});
const part = fc.integer({ min: 1, max: 99 }).map((percent) => percent / 100);

/** Order of a list by descending value; the same for equal values. */
const orderOf = (values: ArrayLike<number>) =>
  Array.from(values, (_, i) => i).sort((a, b) => values[b]! - values[a]! || a - b);

describe('blendScores', () => {
  it('mixes standardized scores and puts them back on the scale of the own ones', () => {
    // Own: mean 2, deviation √2; before: mean 20, deviation 10.
    const own = [0, 2, 2, 4];
    const before = [30, 10, 30, 10];
    const expected = [-0.5 * Math.SQRT2 + 0.5, -0.5, 0.5, 0.5 * Math.SQRT2 - 0.5].map((z) => 2 + Math.SQRT2 * z);
    expect([...blendScores(own, before, 0.5)]).toEqual(expected.map(Math.fround));
    expect([...blendScores(own, before, 0)]).toEqual(own);
  });

  it('takes the order of the stage before where its own scores are equal, and the own order where those are', () => {
    expect(orderOf(blendScores([3, 3, 3], [1, 9, 5], 0.25))).toEqual([1, 2, 0]);
    expect(orderOf(blendScores([1, 9, 5], [0, 0, 0], 0.75))).toEqual([1, 2, 0]);
    expect([...blendScores([7], [-2], 0.5)]).toEqual([7]);
    // A tenth of it is no binary fraction: the mean of equal scores has to be exact for their deviation to be 0.
    for (const count of [3, 6, 7, 10, 1000]) {
      const before = Array.from({ length: count }, (_, i) => -i);
      const same = before.map(() => Math.fround(0.1));
      expect(orderOf(blendScores(same, before, 0.5))).toEqual([...before.keys()]);
    }
  });

  it('does not depend on scale and place of the scores before, and keeps what both agree on', () => {
    fc.assert(
      fc.property(list, part, (pairs, share) => {
        const [own, before] = [pairs.map(([a]) => a), pairs.map(([, b]) => b)];
        const blended = blendScores(own, before, share);
        const moved = blendScores(
          own,
          before.map((score) => 4 * score - 100),
          share,
        );
        for (const i of pairs.keys()) expect(moved[i]).toBeCloseTo(blended[i]!, 3);
        for (const [i, [a, b]] of pairs.entries())
          for (const [j, [c, d]] of pairs.entries())
            if (a > c && b > d) expect(blended[i]).toBeGreaterThan(blended[j]!);
        const mean = own.reduce((sum, score) => sum + score, 0) / own.length;
        expect(blended.reduce((sum, score) => sum + score, 0) / own.length).toBeCloseTo(mean, 3);
      }),
    );
  });
});
