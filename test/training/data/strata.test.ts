import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { samplerSchema } from '../../../src/training/data/data-schema.ts';
import type { CandidateList } from '../../../src/training/data/list-types.ts';
import { sample } from '../../../src/training/data/sampler.ts';

/** A list with 3 relevant passages and 20 others; passage `pN` of the others has teacher score N. */
const list: CandidateList = {
  qid: 'q',
  query: 'q',
  passages: Array.from({ length: 23 }, (_, i) => (i < 3 ? `r${i}` : `p${i - 3}`)),
  relevance: Array.from({ length: 23 }, (_, i) => +(i < 3)),
  teacher: Array.from({ length: 23 }, (_, i) => (i < 3 ? 30 + i : i - 3)),
};

const drawn = (over: Record<string, unknown>, seed = 1, from = list) => {
  const found = sample(from, samplerSchema.parse(over), seed);
  return typeof found === 'string' ? found : found.passages;
};

describe('stratified', () => {
  it('takes all relevant passages, the hardest others and one of each stratum of the rest', () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const found = drawn({ mode: 'stratified', negatives: 6, hardest: 2 }, seed);
        expect(found.slice(0, 5)).toEqual(['r0', 'r1', 'r2', 'p19', 'p18']);
        const rest = (found.slice(5) as string[]).map((p) => Number(p.slice(1)));
        // Strata of p17 … p0: 4 or 5 passages each, from the best.
        const strata = rest.map((score, i) => score >= [13, 9, 4, 0][i]! && score <= [17, 13, 8, 4][i]!);
        expect(strata).toEqual([true, true, true, true]);
      }),
      { numRuns: 50 },
    );
  });

  it('changes with the seed, and repeats with it', () => {
    const of = (seed: number) => JSON.stringify(drawn({ mode: 'stratified', negatives: 6 }, seed));
    expect(of(4)).toBe(of(4));
    expect(new Set([1, 2, 3, 4, 5].map(of)).size).toBeGreaterThan(1);
  });

  it('takes each passage once where there are fewer than wanted', () => {
    const found = drawn({ mode: 'stratified', negatives: 50 });
    expect(new Set(found).size).toBe(23);
    expect(found.length).toBe(23);
  });

  it('leaves false negatives out, and lists without a teacher', () => {
    const found = drawn({ mode: 'stratified', negatives: 4, hardest: 1, teacherMargin: 15 });
    expect(found[3]).toBe('p15');
    const { teacher: _, ...untaught } = list;
    expect(drawn({ mode: 'stratified' }, 1, untaught)).toBe('no teacher score');
    expect(drawn({ mode: 'quantiles' }, 1, untaught)).toBe('no teacher score');
  });
});

describe('quantiles', () => {
  it('takes the best, the worst and the passages at even distances between', () => {
    const others: CandidateList = {
      ...list,
      passages: list.passages.slice(3),
      relevance: list.relevance.slice(3),
      teacher: list.teacher!.slice(3),
    };
    expect(drawn({ mode: 'quantiles', size: 5 }, 1, others)).toEqual(['p19', 'p14', 'p9', 'p5', 'p0']);
    expect(drawn({ mode: 'quantiles', size: 40 }, 1, others)).toHaveLength(20);
  });
});
