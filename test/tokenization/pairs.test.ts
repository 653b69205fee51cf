import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PairTemplate } from '../../src/tokenization/pair-template.ts';
import { assemblePairs, checkPairOptions, joinRequests } from '../../src/tokenization/pairs.ts';
import { poolWindows } from '../../src/tokenization/pooling.ts';
import type { EncodedRequest, PairOptions } from '../../src/tokenization/tokenization-types.ts';

const BERT: PairTemplate = { prefix: [101], middle: [102], suffix: [102], secondType: 1 };
const ROBERTA: PairTemplate = { prefix: [0], middle: [2, 2], suffix: [2], secondType: 0 };

const OPTIONS: PairOptions = {
  maxLength: 12,
  maxQueryTokens: 64,
  truncation: 'longest_first',
  side: 'right',
  longPassages: 'truncate',
  windowOverlap: 0,
};

/** Query tokens are 1, 2, 3 …, passage tokens 11, 12 …. */
const query = (n: number) => Int32Array.from({ length: n }, (_, i) => i + 1);
const passage = (n: number) => Int32Array.from({ length: n }, (_, i) => i + 11);
const rowsOf = (request: EncodedRequest) => request.rows.map((row) => [...row.ids]);
const assemble = (q: number, passages: readonly number[], options: Partial<PairOptions> = {}, template = BERT) =>
  assemblePairs(query(q), passages.map(passage), template, { ...OPTIONS, ...options });

describe('rows', () => {
  it('frame a pair as BERT wants it', () => {
    const request = assemble(2, [3, 0]);
    expect(rowsOf(request)).toEqual([
      [101, 1, 2, 102, 11, 12, 13, 102],
      [101, 1, 2, 102, 102],
    ]);
    expect(request.rows.map((row) => row.secondSegment)).toEqual([4, 4]);
    expect(request.rows.map((row) => row.truncated)).toEqual([false, false]);
    expect([...request.passageOf]).toEqual([0, 1]);
    expect([...request.fullLengths]).toEqual([8, 5]);
    expect(request.truncated).toEqual([false, false]);
    expect(request.tokens).toBe(13);
  });

  it('frame a pair as RoBERTa wants it, with one token type', () => {
    const request = assemble(2, [2], {}, ROBERTA);
    expect(rowsOf(request)).toEqual([[0, 1, 2, 2, 2, 11, 12, 2]]);
    expect(request.rows[0]!.secondSegment).toBe(8);
  });

  it('keep the last separator when a passage is cut, and say that it was', () => {
    const request = assemble(3, [20, 6]);
    expect(rowsOf(request)).toEqual([
      [101, 1, 2, 3, 102, 11, 12, 13, 14, 15, 16, 102],
      [101, 1, 2, 3, 102, 11, 12, 13, 14, 15, 16, 102],
    ]);
    expect(request.truncated).toEqual([true, false]);
    expect(request.rows.map((row) => row.truncated)).toEqual([true, false]);
    expect([...request.fullLengths]).toEqual([26, 12]);
  });

  it('keep the end of both sides on the left side', () => {
    expect(rowsOf(assemble(9, [9], { side: 'left' }))).toEqual([[101, 6, 7, 8, 9, 102, 15, 16, 17, 18, 19, 102]]);
  });

  it('cut the passage alone with only_second', () => {
    expect(rowsOf(assemble(7, [9], { truncation: 'only_second' }))).toEqual([
      [101, 1, 2, 3, 4, 5, 6, 7, 102, 11, 12, 102],
    ]);
  });

  it('cap the query before anything else', () => {
    const request = assemble(9, [3], { maxQueryTokens: 2 });
    expect(rowsOf(request)).toEqual([[101, 1, 2, 102, 11, 12, 13, 102]]);
    // The passage is whole; the row is not.
    expect(request.truncated).toEqual([false]);
    expect(request.rows[0]!.truncated).toBe(true);
    expect([...request.fullLengths]).toEqual([15]);
  });

  it('cap passages at maxPassageTokens, on either side', () => {
    expect(rowsOf(assemble(1, [5], { maxPassageTokens: 2 }))).toEqual([[101, 1, 102, 11, 12, 102]]);
    const left = assemble(1, [5], { maxPassageTokens: 2, side: 'left' });
    expect(rowsOf(left)).toEqual([[101, 1, 102, 14, 15, 102]]);
    expect(left.truncated).toEqual([true]);
  });
});

describe('what is left out', () => {
  it('of the query is counted for each pair, whatever cut it', () => {
    expect([...assemble(9, [3], { maxQueryTokens: 2 }).queryCut]).toEqual([7]);
    // Without a limit the pair's length cuts the longer side.
    expect([...assemble(9, [0, 3, 9], { maxQueryTokens: undefined }).queryCut]).toEqual([0, 3, 5]);
    expect([...assemble(8, [3], { truncation: 'only_second' }).queryCut]).toEqual([0]);
    expect([...assemble(20, [3], { truncation: 'only_second' }).queryCut]).toEqual([12]);
    expect([...assemble(20, [3, 9], { longPassages: 'max' }).queryCut]).toEqual([14, 16]);
  });

  it('because of the length is told from what a limit of its own leaves out', () => {
    expect(assemble(9, [0, 1, 9], { maxQueryTokens: undefined }).overLength).toEqual([false, true, true]);
    expect(assemble(9, [3], { maxQueryTokens: 2 }).overLength).toEqual([false]);
    expect(assemble(3, [60], { maxPassageTokens: 6 }).overLength).toEqual([false]);
    expect(assemble(3, [60], { maxPassageTokens: 7 }).overLength).toEqual([true]);
    expect(assemble(3, [60], { longPassages: 'max' }).overLength).toEqual([false]);
    expect(assemble(9, [2], { longPassages: 'max' }).overLength).toEqual([true]);
  });
});

describe('windows', () => {
  const windowed = { longPassages: 'max', windowOverlap: 2 } as const;

  it('cover a long passage and leave short ones alone', () => {
    const request = assemble(3, [10, 2, 6], windowed);
    expect(rowsOf(request)).toEqual([
      [101, 1, 2, 3, 102, 11, 12, 13, 14, 15, 16, 102],
      [101, 1, 2, 3, 102, 15, 16, 17, 18, 19, 20, 102],
      [101, 1, 2, 3, 102, 11, 12, 102],
      [101, 1, 2, 3, 102, 11, 12, 13, 14, 15, 16, 102],
    ]);
    expect([...request.passageOf]).toEqual([0, 0, 1, 2]);
    expect(request.truncated).toEqual([false, false, false]);
    expect(request.rows.map((row) => row.truncated)).toEqual([true, true, false, false]);
  });

  it('leave half of the room to the passage however long the query is', () => {
    const request = assemble(30, [8], { ...windowed, windowOverlap: 0 });
    expect(rowsOf(request)).toEqual([
      [101, 1, 2, 3, 4, 102, 11, 12, 13, 14, 15, 102],
      [101, 1, 2, 3, 4, 102, 16, 17, 18, 102],
    ]);
  });

  it('give a long query the room that a short passage leaves', () => {
    expect(rowsOf(assemble(30, [2], { ...windowed, windowOverlap: 0 }))).toEqual([
      [101, 1, 2, 3, 4, 5, 6, 7, 102, 11, 12, 102],
    ]);
  });

  it('are at most maxWindows, from the side that is kept, and mark the passage as cut', () => {
    const limited = { ...windowed, windowOverlap: 0, maxWindows: 2 };
    const spans = (request: EncodedRequest) => rowsOf(request).map((ids) => ids.slice(5, -1));
    const right = assemble(3, [15, 9], limited);
    expect(spans(right)).toEqual([
      [11, 12, 13, 14, 15, 16],
      [17, 18, 19, 20, 21, 22],
      [11, 12, 13, 14, 15, 16],
      [17, 18, 19],
    ]);
    expect(right.truncated).toEqual([true, false]);
    const left = assemble(3, [15], { ...limited, side: 'left' });
    expect(spans(left)).toEqual([
      [14, 15, 16, 17, 18, 19],
      [20, 21, 22, 23, 24, 25],
    ]);
    expect(left.truncated).toEqual([true]);
  });

  it('cover at most maxPassageTokens, and mark the passage as cut', () => {
    const request = assemble(3, [20], { ...windowed, maxPassageTokens: 8 });
    expect(rowsOf(request).map((ids) => ids.slice(5, -1))).toEqual([
      [11, 12, 13, 14, 15, 16],
      [15, 16, 17, 18],
    ]);
    expect(request.truncated).toEqual([true]);
  });
});

describe('properties', () => {
  const options = fc.record({
    maxLength: fc.integer({ min: 6, max: 40 }),
    maxQueryTokens: fc.option(fc.integer({ min: 1, max: 30 }), { nil: undefined }),
    maxWindows: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
    maxPassageTokens: fc.option(fc.integer({ min: 1, max: 50 }), { nil: undefined }),
    truncation: fc.constantFrom('longest_first', 'only_second'),
    side: fc.constantFrom('left', 'right'),
    longPassages: fc.constantFrom('truncate', 'max', 'mean'),
    windowOverlap: fc.nat({ max: 20 }),
  }) as fc.Arbitrary<PairOptions>;
  const lengths = fc.array(fc.nat({ max: 90 }), { maxLength: 6 });

  it('every row fits, is framed whole, and holds tokens in order', () => {
    fc.assert(
      fc.property(fc.nat({ max: 60 }), lengths, options, fc.constantFrom(BERT, ROBERTA), (q, ps, o, template) => {
        const request = assemble(q, ps, o, template);
        expect(request.tokens).toBe(request.rows.reduce((sum, row) => sum + row.ids.length, 0));
        for (const [r, { ids }] of request.rows.entries()) {
          const kept = [...ids].slice(template.prefix.length, -template.suffix.length);
          const split = kept.findIndex(
            (_, i) =>
              template.middle.every((id, k) => kept[i + k] === id) && (kept[i + template.middle.length] ?? 11) > 10,
          );
          const [a, b] = [kept.slice(0, split), kept.slice(split + template.middle.length)];
          expect(ids.length).toBeLessThanOrEqual(o.maxLength);
          expect([...ids].slice(-template.suffix.length)).toEqual(template.suffix);
          expect(a).toEqual(a.map((_, i) => a[0]! + i));
          expect(b).toEqual(b.map((_, i) => b[0]! + i));
          // A passage with text has text in each of its rows.
          expect(b.length > 0).toBe(ps[request.passageOf[r]!]! > 0);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('the flag of a passage tells whether some token is in no row', () => {
    fc.assert(
      fc.property(fc.nat({ max: 60 }), lengths, options, (q, ps, o) => {
        const request = assemble(q, ps, o);
        for (const [p, length] of ps.entries()) {
          const seen = new Set(
            request.rows.flatMap((row, r) =>
              request.passageOf[r] === p ? [...row.ids.slice(row.secondSegment, -1)] : [],
            ),
          );
          expect(request.truncated[p]).toBe(seen.size < length);
          expect(request.fullLengths[p]).toBe(3 + q + length);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('every pair keeps the tokens of the query that are not counted as left out', () => {
    fc.assert(
      fc.property(fc.nat({ max: 60 }), lengths, options, (q, ps, o) => {
        const { rows, passageOf, queryCut, overLength } = assemble(q, ps, o);
        for (const [r, { secondSegment }] of rows.entries()) {
          const p = passageOf[r]!;
          expect(secondSegment - 2).toBe(q - queryCut[p]!);
          if (!overLength[p]) expect(queryCut[p]).toBe(Math.max(0, q - (o.maxQueryTokens ?? q)));
        }
      }),
      { numRuns: 500 },
    );
  });

  it('parts assembled one by one join to the same request', () => {
    fc.assert(
      fc.property(fc.nat({ max: 20 }), fc.array(fc.nat({ max: 50 }), { minLength: 2 }), options, (q, ps, o) => {
        const parts = [ps.slice(0, 1), ps.slice(1)].map((part) => assemble(q, part, o));
        expect(JSON.stringify(joinRequests(parts, ps.length))).toBe(JSON.stringify(assemble(q, ps, o)));
      }),
    );
  });
});

describe('options', () => {
  it.each([
    ['maxLength', 4],
    ['maxLength', 12.5],
    ['maxQueryTokens', 0],
    ['maxPassageTokens', 0],
    ['maxWindows', 0],
    ['windowOverlap', -1],
  ])('%s %d is refused by name', (field, value) => {
    expect(() => checkPairOptions({ ...OPTIONS, [field]: value }, BERT)).toThrow(
      new RegExp(`got ${value} \\(${field}\\)`),
    );
  });

  it('the shortest pair has one token a side', () => {
    checkPairOptions({ ...OPTIONS, maxLength: 5 }, BERT);
    expect(rowsOf(assemble(9, [9], { maxLength: 5 }))).toEqual([[101, 1, 102, 11, 102]]);
  });
});

describe('pooling', () => {
  const passageOf = Int32Array.from([0, 0, 1, 2, 2, 2]);
  const scores = Float32Array.from([1, -2, 0.5, -4, -1, -4]);

  it('takes the best window or the mean of all', () => {
    expect([...poolWindows(scores, passageOf, 3, 'max')]).toEqual([1, 0.5, -1]);
    expect([...poolWindows(scores, passageOf, 3, 'mean')]).toEqual([-0.5, 0.5, -3]);
  });

  it('hands NaN on', () => {
    const broken = Float32Array.from([1, Number.NaN, 0.5, -4, -1, -4]);
    for (const pooling of ['max', 'mean'] as const) expect(poolWindows(broken, passageOf, 3, pooling)[0]).toBeNaN();
  });
});
