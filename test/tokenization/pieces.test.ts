import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadTokenizer } from '../../src/tokenization/load.ts';
import { createLocalTokenizer } from '../../src/tokenization/local.ts';
import { PiecewiseEncoder } from '../../src/tokenization/piecewise-encoder.ts';
import { streamSafe } from '../../src/tokenization/stream-safe.ts';
import { textPieces } from '../../src/tokenization/text-pieces.ts';
import type { PairOptions } from '../../src/tokenization/tokenization-types.ts';
import { PAIR_OPTIONS } from '../contracts/pair-tokenizer.ts';
import { corpusNames, corpusTexts, hasShared, SHIPPED, sampled, TOKENIZERS } from './corpora.ts';
import { hostileText } from './hostile-text.ts';

describe('stream-safe text', () => {
  it('keeps text with at most 30 marks in a row', () => {
    fc.assert(
      fc.property(hostileText, (text) => {
        expect(streamSafe(text)).toBe(text);
      }),
    );
    const most = `e${'\u0301'.repeat(30)}`;
    expect(streamSafe(`${most}${most}`)).toBe(`${most}${most}`);
  });

  it('ends a run after 30 marks, again and again', () => {
    expect(streamSafe(`e${'\u0301'.repeat(31)}`)).toBe(`e${'\u0301'.repeat(30)}\u034f\u0301`);
    const mark = fc.constantFrom('\u0301', '\u0f71', '\u0f81', '\u{1d165}', '\u093f', '\u0316');
    const runs = fc.array(fc.oneof({ weight: 40, arbitrary: mark }, { weight: 1, arbitrary: fc.constant('x') }), {
      maxLength: 400,
    });
    fc.assert(
      fc.property(runs, (parts) => {
        const safe = streamSafe(parts.join(''));
        expect(safe.replaceAll('\u034f', '')).toBe(parts.join(''));
        for (const run of safe.split('\u034f')) expect(run).not.toMatch(/\p{M}{31}/u);
      }),
    );
  });
});

describe('pieces of a text', () => {
  const cases = fc.record({
    text: fc.array(fc.oneof(hostileText, fc.constant('some plain words of a text ')), { maxLength: 30 }),
    usual: fc.integer({ min: 4, max: 64 }),
    more: fc.integer({ min: 4, max: 400 }),
    from: fc.constantFrom('start' as const, 'end' as const),
  });

  it('are the text, within their sizes, and never half a character', () => {
    fc.assert(
      fc.property(cases, ({ text: parts, usual, more, from }) => {
        const text = parts.join('').toWellFormed();
        const sizes = { usual, most: usual + more };
        const pieces = [...textPieces(text, sizes, from)];
        expect((from === 'start' ? pieces : pieces.reverse()).join('')).toBe(text);
        for (const piece of pieces) {
          expect(piece.length).toBeLessThanOrEqual(sizes.most);
          expect(piece.isWellFormed()).toBe(true);
        }
      }),
    );
  });
});

const FAMILIES = [
  ['wordpiece', SHIPPED],
  ['byte-level-bpe', join(TOKENIZERS, 'roberta')],
  ['byte-level-bpe with NFC', join(TOKENIZERS, 'modernbert')],
  ['unigram', join(TOKENIZERS, 'deberta-v3')],
] as const;

describe.skipIf(!hasShared).each(FAMILIES)('%s in pieces (needs ../shared)', (_family, folder) => {
  it('gives the ids of the whole, and enough of them from either end', async () => {
    const { encodeText } = await loadTokenizer(folder);
    // A little piece ends at nearly every blank; a good place is always within 4,096 units.
    const pieces = new PiecewiseEncoder({ encode: (text) => encodeText(text) }, { usual: 64, most: 4096 });
    for (const name of corpusNames())
      for (const text of [sampled(corpusTexts(name), 60).join(' '), ...sampled(corpusTexts(name), 60)]) {
        if (!/^[!-~]+( [!-~]+)*$/.test(text)) continue;
        const whole = [...encodeText(text)];
        expect([...pieces.encode(text)]).toEqual(whole);
        const start = pieces.encode(text, { tokens: 20, from: 'start' });
        expect(start.length).toBeGreaterThanOrEqual(Math.min(20, whole.length));
        expect([...start]).toEqual(whole.slice(0, start.length));
        const end = pieces.encode(text, { tokens: 20, from: 'end' });
        expect(end.length).toBeGreaterThanOrEqual(Math.min(20, whole.length));
        expect([...end]).toEqual(whole.slice(whole.length - end.length));
      }
  });
});

describe('a request that needs no exact lengths', () => {
  const words = 'Rivers flow to the sea, and naïve passages are long. ';
  const passages = [words.repeat(4000), words, '', 'é'.repeat(200_000), `${words.repeat(2000)}end.`];
  const cases: readonly (readonly [string, Partial<PairOptions>])[] = [
    ['cut at the end', {}],
    ['cut at the beginning', { side: 'left' }],
    ['only the passage cut', { truncation: 'only_second' }],
    ['windows over some tokens', { longPassages: 'max', maxPassageTokens: 300 }],
    ['windows over all tokens', { longPassages: 'mean' }],
  ];

  it.each(cases)('%s: has the same rows and flags', async (_name, spoil) => {
    const tokenizer = await createLocalTokenizer(SHIPPED);
    const options = { ...PAIR_OPTIONS, ...spoil };
    for (const query of ['rivers', words.repeat(3000)]) {
      const exact = await tokenizer.encode(query, passages, options);
      const quick = await tokenizer.encode(query, passages, { ...options, exactLengths: false });
      const rowsOf = ({ rows }: typeof exact) => rows.map(({ ids, ...flags }) => ({ ...flags, ids: String(ids) }));
      expect(rowsOf(quick)).toEqual(rowsOf(exact));
      expect(quick.truncated).toEqual(exact.truncated);
      expect([...quick.passageOf]).toEqual([...exact.passageOf]);
    }
  });

  it('reads a long text no further than it needs, a short one to its end', async () => {
    const tokenizer = await createLocalTokenizer(SHIPPED);
    const read = { ...PAIR_OPTIONS, exactLengths: false };
    const { fullLengths } = await tokenizer.encode('rivers', passages, read);
    const exact = await tokenizer.encode('rivers', passages, PAIR_OPTIONS);
    expect(fullLengths[0]).toBeGreaterThan(read.maxLength);
    expect(fullLengths[0]).toBeLessThan(exact.fullLengths[0]! / 2);
    expect(fullLengths[1]).toBe(exact.fullLengths[1]);
  });
});
