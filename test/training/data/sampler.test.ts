import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { samplerSchema } from '../../../src/training/data/data-schema.ts';
import type { CandidateList } from '../../../src/training/data/list-types.ts';
import { isFalseNegative, sample, samples } from '../../../src/training/data/sampler.ts';
import { createObjective, PAPER_OBJECTIVES } from '../../../src/training/objectives/catalog.ts';

const sampler = (over: Record<string, unknown> = {}) => samplerSchema.parse(over);
const drawn = (list: CandidateList, over: Record<string, unknown>, seed = 1): CandidateList => {
  const result = sample(list, sampler(over), seed);
  if (typeof result === 'string') throw new Error(result);
  return result;
};

/** Lists with passages named by their place. */
const lists = fc
  .array(fc.record({ grade: fc.integer({ min: 0, max: 1 }), score: fc.integer({ min: -50, max: 50 }) }), {
    minLength: 2,
    maxLength: 30,
  })
  .map(
    (all): CandidateList => ({
      qid: `q${all.length}`,
      query: 'q',
      passages: all.map((_, i) => `p${i}`),
      relevance: all.map((x) => x.grade),
      teacher: all.map((x) => x.score),
    }),
  );
const place = (passage: string): number => Number(passage.slice(1));

describe('sample', () => {
  it('negatives: positives first, then others from the given ranks, none twice unless they are repeated', () => {
    fc.assert(
      fc.property(lists, fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 4 }), (list, negatives, from) => {
        const others = list.relevance.filter((g, i) => g === 0 && i + 1 >= from && i + 1 <= from + 10);
        const settings = { negatives, negativeRanks: [from, from + 10] };
        const result = sample(list, sampler(settings), 3);
        if (typeof result === 'string') {
          expect(list.relevance.every((g) => g === 0) || others.length === 0).toBe(true);
          return;
        }
        expect(new Set(result.passages).size).toBe(1 + Math.min(negatives, others.length));
        expect(result.passages).toHaveLength(1 + Math.min(negatives, others.length));
        const repeated = sample(list, sampler({ ...settings, repeatNegatives: true }), 3);
        expect(repeated).toMatchObject({ relevance: [1, ...Array.from({ length: negatives }, () => 0)] });
        expect(result.passages.slice(1).every((p) => place(p) + 1 >= from && place(p) + 1 <= from + 10)).toBe(true);
        expect(result.teacher).toEqual(result.passages.map((p) => list.teacher![place(p)]));
      }),
    );
  });

  it('false negatives by absolute and relative margin are never drawn', () => {
    fc.assert(
      fc.property(
        lists,
        fc.integer({ min: 0, max: 20 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (list, teacherMargin, teacherRatio) => {
          const result = sample(list, sampler({ teacherMargin, teacherRatio }), 3);
          if (typeof result === 'string') return;
          const [high, ...rest] = result.teacher!;
          for (const low of rest) {
            expect(low).toBeLessThanOrEqual(high! - teacherMargin);
            expect(low).toBeLessThanOrEqual(high! - (1 - teacherRatio) * Math.abs(high!));
          }
        },
      ),
    );
    expect(isFalseNegative(10, 9.6, { teacherMargin: undefined, teacherRatio: 0.95 })).toBe(true);
    expect(isFalseNegative(10, 9.4, { teacherMargin: undefined, teacherRatio: 0.95 })).toBe(false);
    expect(isFalseNegative(-10, -10.4, { teacherMargin: undefined, teacherRatio: 0.95 })).toBe(true);
    expect(isFalseNegative(-10, -10.6, { teacherMargin: undefined, teacherRatio: 0.95 })).toBe(false);
  });

  it('window and list keep the order of ranks and their depth', () => {
    fc.assert(
      fc.property(lists, fc.integer({ min: 2, max: 20 }), fc.integer({ min: 2, max: 20 }), (list, depth, size) => {
        const window = drawn(list, { mode: 'window', depth }).passages;
        expect(window).toEqual(list.passages.slice(0, depth));
        const sampled = drawn(list, { mode: 'list', depth, size }).passages.map(place);
        expect(sampled).toEqual([...new Set(sampled)].sort((a, b) => a - b));
        expect(sampled.length).toBe(Math.min(size, depth, list.passages.length));
        expect(Math.max(...sampled)).toBeLessThan(depth);
      }),
    );
  });

  it('repeats by seed and query, and changes with the seed', () => {
    const list: CandidateList = {
      qid: 'q',
      query: 'q',
      passages: Array.from({ length: 40 }, (_, i) => `p${i}`),
      relevance: Array.from({ length: 40 }, (_, i) => +(i === 3)),
    };
    expect(drawn(list, {}, 5)).toEqual(drawn(list, {}, 5));
    const seeds = new Set(Array.from({ length: 10 }, (_, seed) => drawn(list, {}, seed).passages.join()));
    expect(seeds.size).toBeGreaterThan(8);
  });
});

describe('equal negatives', () => {
  it('every objective of the paper sees the same lists and candidates', () => {
    const without = ({ teacher: _, ...rest }: CandidateList): CandidateList => rest;
    fc.assert(
      fc.property(
        fc.array(fc.tuple(lists, fc.boolean()), { maxLength: 8 }),
        fc.constantFrom('negatives', 'list', 'window'),
        (all, mode) => {
          const data = all.map(([list, taught], i) => ({ ...(taught ? list : without(list)), qid: `${i}` }));
          const seen = PAPER_OBJECTIVES.map((objective) =>
            data.map((list) =>
              sample(list, sampler({ mode, depth: 5, equalNegatives: true }), 11, createObjective(objective).needs),
            ),
          );
          for (const other of seen) expect(other).toEqual(seen[0]);
          for (const one of seen[0]!)
            if (typeof one !== 'string')
              expect([one.relevance.some((g) => g > 0), one.teacher !== undefined]).toEqual([true, true]);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('without it, an objective loses only what it cannot use', () => {
    const list: CandidateList = { qid: 'q', query: 'q', passages: ['a', 'b'], relevance: [1, 0] };
    expect(sample(list, sampler({ negatives: 1 }), 1, createObjective('BCE').needs)).toEqual(list);
    expect(sample(list, sampler(), 1, createObjective('MarginMSE').needs)).toBe('no teacher score');
    expect(sample(list, sampler({ equalNegatives: true }), 1, createObjective('BCE').needs)).toBe('no teacher score');
  });
});

describe('objectives of single teacher scores', () => {
  const list: CandidateList = {
    qid: 'q',
    query: 'q',
    passages: Array.from({ length: 11 }, (_, i) => `p${i}`),
    relevance: new Array(11).fill(0),
    teacher: Array.from({ length: 11 }, (_, i) => i / 10),
  };
  const settings = sampler({ positives: 1, negatives: 3 });
  const { needs } = createObjective('MSE');

  it('see every passage of a pass once, without a relevant one', () => {
    const parts = samples(list, settings, 1, needs);
    if (typeof parts === 'string') throw new Error(parts);
    expect(parts.flatMap(({ passages }) => passages).toSorted()).toEqual(list.passages.toSorted());
    expect(parts.every(({ passages }) => passages.length <= 4)).toBe(true);
  });

  it('take single pairs, and leave out what has no teacher score', () => {
    const pair = { ...list, passages: ['p'], relevance: [0], teacher: [0.3] };
    expect(samples(pair, settings, 1, needs)).toEqual([pair]);
    const { teacher: _, ...untaught } = list;
    expect(samples(untaught, settings, 1, needs)).toBe('no teacher score');
  });
});
