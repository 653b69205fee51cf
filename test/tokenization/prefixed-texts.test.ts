import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pairsWithin } from '../../src/registry/pair-limits.ts';
import { createLocalTokenizer } from '../../src/tokenization/local.ts';
import type { PairOptions, TextTokenizer } from '../../src/tokenization/tokenization-types.ts';
import { WORDS, writeTinyModel } from '../support/tiny-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-prefixed-'));
let tokenizer: TextTokenizer;
beforeAll(async () => {
  tokenizer = await createLocalTokenizer(await writeTinyModel(folder));
});
afterAll(async () => {
  await tokenizer.close();
  rmSync(folder, { recursive: true, force: true });
});

/* Ids: [CLS] 2, [SEP] 3, word i is 5 + i. The prefix is words 0 and 1. */
const PREFIX = `${WORDS[0]} ${WORDS[1]} `;
const text = (...words: readonly number[]): string => words.map((i) => WORDS[i]).join(' ');
const OPTIONS: PairOptions = pairsWithin({ maxLength: 8 });

async function rows(texts: readonly string[], options: Partial<PairOptions> = {}): Promise<number[][]> {
  const encoded = await tokenizer.encodeTexts(texts, { ...OPTIONS, prefix: PREFIX, ...options });
  return encoded.rows.map(({ ids }) => [...ids]);
}

describe('texts behind a prefix', () => {
  it('are cut on the right as one text with it', async () => {
    expect(await rows([text(10, 11, 12, 13, 14)])).toEqual([[2, 5, 6, 15, 16, 17, 18, 3]]);
    expect(await rows([''])).toEqual([[2, 5, 6, 3]]);
  });

  it('keep it where they are cut on the left', async () => {
    expect(await rows([text(10, 11, 12, 13, 14)], { side: 'left' })).toEqual([[2, 5, 6, 16, 17, 18, 19, 3]]);
  });

  it('keep it where a long text is read from its end only', async () => {
    const long = `${text(10)} `.repeat(20_000) + text(11, 12);
    const left = { side: 'left', exactLengths: false } as const;
    expect(await rows([long, text(10)], left)).toEqual([
      [2, 5, 6, 15, 15, 16, 17, 3],
      [2, 5, 6, 15, 3],
    ]);
  });

  it('have it in every window', async () => {
    const windows = { longPassages: 'max', windowOverlap: 1 } as const;
    expect(await rows([text(10, 11, 12, 13, 14, 15)], windows)).toEqual([
      [2, 5, 6, 15, 16, 17, 18, 3],
      [2, 5, 6, 18, 19, 20, 3],
    ]);
  });

  it('count it in the limit of their tokens, and keep one of their own', async () => {
    expect(await rows([text(10, 11, 12)], { maxPassageTokens: 4 })).toEqual([[2, 5, 6, 15, 16, 3]]);
    expect(await rows([text(10, 11, 12)], { maxPassageTokens: 1 })).toEqual([[2, 5, 6, 15, 3]]);
  });

  it('are refused where it leaves no room', async () => {
    await expect(rows([text(10)], { maxLength: 5 })).rejects.toThrow(/at least 6, got 5 .maxLength/);
  });

  it('leave a token that spans its end to the text', async () => {
    // Without a space the last word of the prefix and the first of the text are one unknown word.
    const [row] = await rows([text(10, 11, 12, 13, 14, 15)], { prefix: PREFIX.trimEnd(), side: 'left' });
    expect(row).toEqual([2, 5, 16, 17, 18, 19, 20, 3]);
  });

  it('have the rows that each has alone', async () => {
    const words = fc.array(fc.nat(WORDS.length - 1), { maxLength: 12 });
    const options = fc.record({
      side: fc.constantFrom('left' as const, 'right' as const),
      longPassages: fc.constantFrom('truncate' as const, 'max' as const),
      prefix: fc.constantFrom(PREFIX, PREFIX.trimEnd()),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(words, { maxLength: 5 }), options, async (lists, given) => {
        const texts = lists.map((list) => text(...list));
        const alone = await Promise.all(texts.map((one) => rows([one], given)));
        expect(await rows(texts, given)).toEqual(alone.flat());
      }),
      { numRuns: 60 },
    );
  });

  it('are the whole text where nothing is cut', async () => {
    const plain = await tokenizer.encodeTexts([PREFIX + text(10, 11)], OPTIONS);
    const behind = await tokenizer.encodeTexts([text(10, 11)], { ...OPTIONS, prefix: PREFIX });
    expect(behind).toEqual(plain);
  });
});
