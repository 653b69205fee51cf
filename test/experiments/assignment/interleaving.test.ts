import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { balanced, teamDraft } from '../../../src/experiments/assignment/interleaving.ts';
import { createRandom } from '../../../src/util/random.ts';
import { balancedCredit } from '../balanced-credit.ts';

const permutations = (arms: number) =>
  fc.integer({ min: 1, max: 30 }).chain((n) => {
    const items = Array.from({ length: n }, (_, i) => i);
    return fc.tuple(
      fc.integer(),
      ...Array.from({ length: arms }, () => fc.shuffledSubarray(items, { minLength: n, maxLength: n })),
    );
  });

const sorted = (items: readonly number[]) => [...items].sort((a, b) => a - b);

describe('teamDraft', () => {
  it.each([2, 3, 5])('%d arms: every item once, team sizes differ by at most one at each round', (arms) => {
    fc.assert(
      fc.property(permutations(arms), ([seed, ...rankings]) => {
        const { order, team } = teamDraft(rankings, createRandom(seed));
        expect(sorted(order)).toEqual(sorted(rankings[0]!));
        for (let end = arms; end <= team.length; end += arms) {
          const sizes = Array.from({ length: arms }, (_, arm) => team.slice(0, end).filter((t) => t === arm).length);
          expect(new Set(sizes)).toEqual(new Set([end / arms]));
        }
      }),
    );
  });

  it('each pick is the best its team had left', () => {
    fc.assert(
      fc.property(permutations(3), ([seed, ...rankings]) => {
        const { order, team } = teamDraft(rankings, createRandom(seed));
        order.forEach((item, k) => {
          const rest = rankings[team[k]!]!.filter((i) => !order.slice(0, k).includes(i));
          expect(item).toBe(rest[0]);
        });
      }),
    );
  });

  it('identical rankings are returned unchanged, whichever arm drafts first', () => {
    expect(
      teamDraft(
        [
          [3, 1, 2],
          [3, 1, 2],
        ],
        createRandom(1),
      ).order,
    ).toEqual([3, 1, 2]);
  });

  it('each arm leads about half of the time', () => {
    const random = createRandom(7);
    let first = 0;
    for (let i = 0; i < 10_000; i++)
      first +=
        teamDraft(
          [
            [0, 1],
            [1, 0],
          ],
          random,
        ).team[0] === 0
          ? 1
          : 0;
    // 5,000 ± 4 standard deviations of 50
    expect(Math.abs(first - 5000)).toBeLessThan(200);
  });
});

describe('balanced', () => {
  it('every prefix holds the first k of both, with k differing by at most one', () => {
    fc.assert(
      fc.property(permutations(2), ([seed, a, b]) => {
        const { order } = balanced([a!, b!], createRandom(seed));
        expect(sorted(order)).toEqual(sorted(a!));
        for (let end = 1; end <= order.length; end++) {
          const prefix = new Set(order.slice(0, end));
          const fits = a!.some((_, i) =>
            [i, i + 1].some((j) =>
              [
                [i, j],
                [j, i],
              ].some(([x, y]) => {
                const union = new Set([...a!.slice(0, x), ...b!.slice(0, y)]);
                return union.size === prefix.size && [...union].every((item) => prefix.has(item));
              }),
            ),
          );
          expect(fits || prefix.size === a!.length).toBe(true);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('credits the clicks within each arm’s own prefix (worked by hand)', () => {
    // a: 0 1 2 3, b: 1 4 0 2; shown 0 1 4 2 (a leads). Click on 4: b ranks it second, so k = 2: a's {0,1} has none, b's {1,4} has one.
    expect(
      balancedCredit(
        [
          [0, 1, 2, 3],
          [1, 4, 0, 2],
        ],
        [0, 1, 4, 2],
        new Set([4]),
      ),
    ).toEqual([0, 1]);
    // Clicks on 0 and 1 at k = 1 (b ranks 1 first): a's {0} has one, b's {1} has one.
    expect(
      balancedCredit(
        [
          [0, 1, 2, 3],
          [1, 4, 0, 2],
        ],
        [0, 1, 4, 2],
        new Set([0, 1]),
      ),
    ).toEqual([1, 1]);
    expect(
      balancedCredit(
        [
          [0, 1],
          [1, 0],
        ],
        [0, 1],
        new Set(),
      ),
    ).toEqual([0, 0]);
  });
});
