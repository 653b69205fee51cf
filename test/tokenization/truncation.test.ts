import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fitPair, keptSpan, windows } from '../../src/tokenization/truncation.ts';

describe('longest_first', () => {
  // Worked out by hand from the three cases of Hugging Face's fast tokenizers.
  it.each([
    [3, 4, 10, 3, 4],
    [3, 10, 10, 3, 7],
    [10, 3, 10, 7, 3],
    [10, 10, 4, 2, 2],
    [10, 10, 5, 2, 3],
    [10, 9, 5, 3, 2],
    [9, 10, 5, 2, 3],
    [3, 10, 5, 2, 3],
    [10, 3, 5, 3, 2],
    [2, 10, 5, 2, 3],
    [0, 10, 5, 0, 5],
    [10, 0, 5, 5, 0],
    [1, 9, 2, 1, 1],
  ])('query %i, passage %i, room %i → %i and %i', (query, passage, room, keptQuery, keptPassage) => {
    expect(fitPair(query, passage, room, 'longest_first')).toEqual({ query: keptQuery, passage: keptPassage });
  });

  /** Takes tokens off the longer side one at a time; of two equals the first one taken decides an odd room. */
  function oneAtATime(query: number, passage: number, room: number): [number, number] {
    let [q, p] = [query, passage];
    while (q + p > room) {
      if (q > p || (q === p && query <= passage)) q--;
      else p--;
    }
    return [q, p];
  }

  it('is what taking single tokens off the longer side gives', () => {
    const length = fc.nat({ max: 60 });
    fc.assert(
      fc.property(length, length, fc.integer({ min: 2, max: 70 }), (q, p, room) => {
        const kept = fitPair(q, p, room, 'longest_first');
        expect([kept.query, kept.passage]).toEqual(oneAtATime(q, p, room));
      }),
      { numRuns: 2000 },
    );
  });
});

describe('only_second', () => {
  it.each([
    [3, 4, 10, 3, 4],
    [3, 40, 10, 3, 7],
    [9, 40, 10, 9, 1],
    [50, 40, 10, 9, 1],
    [50, 0, 10, 10, 0],
  ])('query %i, passage %i, room %i → %i and %i', (query, passage, room, keptQuery, keptPassage) => {
    expect(fitPair(query, passage, room, 'only_second')).toEqual({ query: keptQuery, passage: keptPassage });
  });
});

it('side left keeps the end', () => {
  expect(keptSpan(10, 4, 'right')).toEqual({ start: 0, length: 4 });
  expect(keptSpan(10, 4, 'left')).toEqual({ start: 6, length: 4 });
});

describe('windows', () => {
  it.each([
    [
      10,
      4,
      0,
      [
        [0, 4],
        [4, 4],
        [8, 2],
      ],
    ],
    [
      10,
      4,
      1,
      [
        [0, 4],
        [3, 4],
        [6, 4],
      ],
    ],
    [
      10,
      4,
      2,
      [
        [0, 4],
        [2, 4],
        [4, 4],
        [6, 4],
      ],
    ],
    // More overlap than half of the width is half of it.
    [
      10,
      4,
      99,
      [
        [0, 4],
        [2, 4],
        [4, 4],
        [6, 4],
      ],
    ],
    [4, 4, 2, [[0, 4]]],
    [
      3,
      1,
      5,
      [
        [0, 1],
        [1, 1],
        [2, 1],
      ],
    ],
    [0, 4, 2, [[0, 0]]],
  ])('%i tokens, width %i, overlap %i', (length, width, overlap, expected) => {
    expect(windows(length, width, overlap).map((w) => [w.start, w.length])).toEqual(expected);
  });

  it('cover every token, are never empty, never too wide, and share what was asked for', () => {
    const size = fc.integer({ min: 1, max: 400 });
    fc.assert(
      fc.property(size, size, fc.nat({ max: 300 }), (length, width, overlap) => {
        const spans = windows(length, width, overlap);
        expect(spans[0]!.start).toBe(0);
        expect(spans.at(-1)!.start + spans.at(-1)!.length).toBe(length);
        for (const [i, span] of spans.entries()) {
          expect(span.length).toBeGreaterThan(0);
          expect(span.length).toBeLessThanOrEqual(width);
          const before = spans[i - 1];
          if (before) expect(before.start + width - span.start).toBe(Math.min(overlap, Math.floor(width / 2)));
        }
      }),
    );
  });
});
