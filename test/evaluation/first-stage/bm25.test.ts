import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { analyze } from '../../../src/evaluation/first-stage/analyzer.ts';
import { ANSERINI, type Bm25Params } from '../../../src/evaluation/first-stage/bm25.ts';
import { byteToLength, lengthToByte } from '../../../src/evaluation/first-stage/lengths.ts';
import { bm25Stage } from '../../../src/evaluation/first-stage/stages.ts';
import { TopK } from '../../../src/evaluation/first-stage/top-k.ts';
import { withIndex } from './support.ts';

/** Length, its byte and the length decoded from it, by Lucene 9.12.1's `SmallFloat`. */
const BYTES = [
  [0, 0, 0],
  [23, 23, 23],
  [24, 24, 24],
  [39, 39, 39],
  [40, 40, 40],
  [41, 40, 40],
  [42, 41, 42],
  [47, 43, 46],
  [48, 44, 48],
  [55, 47, 54],
  [63, 49, 60],
  [79, 53, 76],
  [100, 57, 96],
  [255, 70, 248],
  [500, 78, 472],
  [1024, 87, 984],
  [65_535, 135, 61_464],
  [1_000_000, 167, 983_064],
] as const;

/** Scores every passage by the textbook formula; only the analyzer is shared with the code under test. */
function naive(texts: readonly string[], query: string, { k1, b, lengths }: Bm25Params): [string, number][] {
  const docs = texts.map(analyze);
  const filled = docs.filter((doc) => doc.length > 0).length;
  const average = docs.reduce((sum, doc) => sum + doc.length, 0) / filled;
  const scored = docs.map((doc, i): [string, number] => {
    const length = lengths === 'lucene' ? byteToLength(lengthToByte(doc.length)) : doc.length;
    let score = 0;
    for (const term of analyze(query)) {
      const n = docs.filter((other) => other.includes(term)).length;
      const tf = doc.filter((word) => word === term).length;
      if (tf > 0)
        score += Math.log(1 + (filled - n + 0.5) / (n + 0.5)) * (tf / (tf + k1 * (1 - b + b * (length / average))));
    }
    return [`d${i}`, score];
  });
  return scored
    .filter(([, score]) => score > 0)
    .map((entry, i) => ({ entry, i }))
    .sort((x, y) => y.entry[1] - x.entry[1] || x.i - y.i)
    .map(({ entry }) => entry);
}

const word = fc.constantFrom('flea', 'fleas', 'wing', 'flow', 'the', 'Heat', 'shock', 'x9', 'café', 'über', 'zz');
const words = fc.array(word, { maxLength: 60 }).map((list) => list.join(' '));
const corpus = fc
  .array(words, { minLength: 1, maxLength: 12 })
  .filter((texts) => texts.some((t) => analyze(t).length > 0));
const params = fc.record({
  k1: fc.constantFrom(0, 0.9, 1.2, 3),
  b: fc.constantFrom(0, 0.4, 0.75, 1),
  lengths: fc.constantFrom('lucene' as const, 'exact' as const),
});

describe('BM25', () => {
  it('keeps lengths in a byte as Lucene does', () => {
    for (const [length, byte, back] of BYTES) {
      expect(lengthToByte(length)).toBe(byte);
      expect(byteToLength(byte)).toBe(back);
    }
  });

  it('scores as the formula does, however many runs the index was merged from', async () => {
    await fc.assert(
      fc.asyncProperty(corpus, words, params, fc.integer({ min: 1, max: 200 }), async (texts, query, p, batch) => {
        const expected = naive(texts, query, p);
        const found = await withIndex(texts, batch, (index) => index.search(query, texts.length, p));
        expect(found.docids.toSorted()).toEqual(expected.map(([id]) => id).toSorted());
        const wanted = new Map(expected);
        for (const [i, id] of found.docids.entries()) expect(found.scores[i]).toBeCloseTo(wanted.get(id)!, 10);
        expect([...found.scores]).toEqual([...found.scores].sort((a, b) => b - a));
      }),
      { numRuns: 40 },
    );
  });

  it('finds the same best passages at any depth, earlier passages first among equals', async () => {
    const texts = ['flow flow', 'heat', 'flow heat', 'flow heat', 'wing', 'heat flow'];
    await withIndex(texts, 1000, (index) => {
      const all = index.search('heat flow', 6);
      expect(all.docids.slice(0, 3)).toEqual(['d2', 'd3', 'd5']);
      for (let depth = 1; depth <= 6; depth++)
        expect(index.search('heat flow', depth).docids).toEqual(all.docids.slice(0, depth));
    });
  });

  it('returns an empty list for unknown or stop words, and correct lists afterwards', async () => {
    await withIndex(['one flea', 'two wings'], 1000, (index) => {
      expect(index.search('the of zebra', 10).docids).toEqual([]);
      expect(index.search('wing', 10).docids).toEqual(['d1']);
      expect(index.search('flea flea', 10).scores[0]).toBeCloseTo(2 * index.search('flea', 10).scores[0]!, 12);
    });
  });

  it('finds terms in dictionaries of many blocks', async () => {
    const texts = Array.from({ length: 700 }, (_, i) => `term${i} number${i % 7}`);
    await withIndex(texts, 97, (index) => {
      expect(index.facts).toMatchObject({ passages: 700, terms: 707, postings: 1400, tokens: 1400 });
      for (const i of [0, 1, 127, 128, 255, 300, 699]) expect(index.search(`term${i}`, 5).docids).toEqual([`d${i}`]);
      expect(index.search('number3', 1000).docids).toHaveLength(100);
      expect(index.search('zzz aaa', 5).docids).toEqual([]);
    });
  });

  it('ranks within candidate lists only, those without a term last', async () => {
    await withIndex(['flow', 'flow heat', 'wing', 'heat'], 1000, async (index) => {
      const within = new Map([['q', { docids: ['d2', 'd0', 'd3'], scores: [3, 2, 1] }]]);
      const run = await bm25Stage(index, ANSERINI, within).retrieve(new Map([['q', 'flow']]), 10);
      expect(run.get('q')?.docids).toEqual(['d0', 'd2', 'd3']);
    });
  });
});

describe('TopK', () => {
  it('keeps what sorting everything would', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 6 }), { maxLength: 60 }), fc.nat(20), (scores, k) => {
        const top = new TopK(k);
        for (const [passage, score] of scores.entries()) top.add(passage, score);
        const sorted = scores.map((score, passage) => ({ score, passage }));
        sorted.sort((a, b) => b.score - a.score || a.passage - b.passage);
        expect([...top.drain().passages]).toEqual(sorted.slice(0, k).map(({ passage }) => passage));
      }),
    );
  });
});
