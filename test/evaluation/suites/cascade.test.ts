import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cascadeRun, stagePairs } from '../../../src/evaluation/suites/cascade.ts';

const DOCS = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
const scores = fc.array(fc.integer({ min: 0, max: 4 }), { minLength: DOCS.length, maxLength: DOCS.length });
const runOf = (values: readonly number[]) => new Map([['q', { docids: DOCS, scores: values }]]);
const order = (values: readonly number[]) =>
  DOCS.map((id, i) => ({ id, score: values[i]! }))
    .sort((x, y) => y.score - x.score || (x.id < y.id ? 1 : -1))
    .map(({ id }) => id);

describe('cascadeRun', () => {
  it('is the last stage’s ranking of what the first kept, then the rest as the first had it', () => {
    fc.assert(
      fc.property(scores, scores, fc.integer({ min: 1, max: 9 }), (first, last, keep) => {
        const run = cascadeRun(runOf(first), [{ run: runOf(first), keep }, { run: runOf(last) }]);
        const pruned = order(first);
        const kept = new Set(pruned.slice(0, keep));
        const expected = [...order(last).filter((id) => kept.has(id)), ...pruned.slice(keep)];
        expect(run.get('q')?.docids).toEqual(expected);
        const given = run.get('q')?.scores as number[];
        expect(given.every((score, i) => i === 0 || score < given[i - 1]!)).toBe(true);
      }),
    );
  });

  it('puts those that a later stage pruned above those an earlier one did', () => {
    const [one, two, three] = [
      runOf([7, 6, 5, 4, 3, 2, 1]),
      runOf([1, 2, 3, 4, 5, 6, 7]),
      runOf([4, 1, 2, 3, 9, 9, 9]),
    ];
    const run = cascadeRun(one, [{ run: one, keep: 4 }, { run: two, keep: 2 }, { run: three }]);
    expect(run.get('q')?.docids).toEqual(['d', 'c', 'b', 'a', 'e', 'f', 'g']);
  });

  it('blends with the stage before, and puts what has no score in one of them last', () => {
    const one = runOf([7, 6, 5, 4, 3, 2, 1]);
    const two = new Map([['q', { docids: ['a', 'b', 'c', 'd', 'e'], scores: [1, 2, 3, 5, 4] }]]);
    const blended = (blend: number) =>
      cascadeRun(one, [
        { run: one, keep: 6 },
        { run: two, blend },
      ])
        .get('q')
        ?.docids.join('');
    expect(blended(0)).toBe('decbafg');
    // Standardized over a–e: 2 1 0 −1 −2 and −2 −1 0 2 1, divided by one deviation. Half: 0 0 0 .5 −.5; equal ones by docid, descending.
    expect(blended(0.5)).toBe('dcbaefg');
    expect(blended(0.9)).toBe('abcdefg');
  });

  it('counts the pairs each stage sees', () => {
    const run = new Map([
      ['q', { docids: DOCS, scores: [] }],
      ['r', { docids: ['a', 'b'], scores: [] }],
    ]);
    expect(stagePairs(run, [4, 3, undefined])).toEqual([9, 6, 5]);
    expect(stagePairs(run, [undefined])).toEqual([9]);
  });
});
