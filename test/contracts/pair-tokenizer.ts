import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadTokenizer } from '../../src/tokenization/load.ts';
import type { PairOptions, TextTokenizer } from '../../src/tokenization/tokenization-types.ts';

export const PAIR_OPTIONS: PairOptions = {
  maxLength: 64,
  maxQueryTokens: 16,
  truncation: 'longest_first',
  side: 'right',
  longPassages: 'truncate',
  windowOverlap: 8,
};

/**
 * What every pair tokenizer must do.
 * @param open makes one for a folder; `close` ends what was made for it.
 */
export function pairTokenizerContract(
  name: string,
  folder: string,
  open: () => Promise<{ readonly tokenizer: TextTokenizer; close(): Promise<void> }>,
): void {
  describe(`${name} keeps the contract of a pair tokenizer`, () => {
    let tokenizer: TextTokenizer;
    let close: () => Promise<void>;
    const passages = ['Rivers flow to the sea.', '', 'x '.repeat(300), 'Rivers flow to the sea.', '中文 and naïve 🦙'];

    beforeAll(async () => {
      ({ tokenizer, close } = await open());
    });
    afterAll(() => close());

    it('tells the tokens of single texts, with and without the special ones around them', async () => {
      const { encodeText, template } = await loadTokenizer(folder);
      const { prefix, suffix } = template;
      const { texts, spelling } = await tokenizer.tokens(passages, { special: true, atMost: 10_000 });
      const bare = await tokenizer.tokens(passages, { special: false, atMost: 10_000 });
      for (const [i, passage] of passages.entries()) {
        const ids = [...encodeText(passage)];
        expect([...texts[i]!.ids]).toEqual([...prefix, ...ids, ...suffix]);
        expect([texts[i]!.before, texts[i]!.after]).toEqual([prefix.length, suffix.length]);
        expect([[...bare.texts[i]!.ids], bare.texts[i]!.before, bare.texts[i]!.after]).toEqual([ids, 0, 0]);
        for (const id of texts[i]!.ids) expect(spelling.get(id)).toEqual(expect.any(String));
      }
      const first = [...bare.texts[0]!.ids].map((id) => spelling.get(id)).join('');
      expect(first.replaceAll(' ', '').toLowerCase()).toBe('riversflowtothesea.');
    });

    it('refuses more tokens than may be answered, and ended requests', async () => {
      const options = { special: true, atMost: 300 };
      await expect(tokenizer.tokens(passages, options)).rejects.toMatchObject({
        code: 'invalid_field',
        params: { field: 'texts' },
      });
      await expect(tokenizer.tokens(['x '.repeat(2_000_000)], options)).rejects.toMatchObject({
        code: 'invalid_field',
      });
      const { texts } = await tokenizer.tokens(['x '.repeat(300)], options);
      expect(texts[0]!.ids.length).toBeGreaterThan(300);
      await expect(tokenizer.tokens(['a'], options, AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
    });

    it('assembles query and passages from the ids of each, in order', async () => {
      const { encodeText, template, padId } = await loadTokenizer(folder);
      const { rows, passageOf } = await tokenizer.encode('Where do rivers flow?', passages, PAIR_OPTIONS);
      expect([...passageOf]).toEqual([0, 1, 2, 3, 4]);
      expect(tokenizer.padId).toBe(padId);
      expect(tokenizer.folder).toBe(folder);
      const query = [...template.prefix, ...encodeText('Where do rivers flow?'), ...template.middle];
      for (const [i, passage] of passages.entries()) {
        const room = PAIR_OPTIONS.maxLength - query.length - template.suffix.length;
        const kept = [...encodeText(passage)].slice(0, room);
        expect([...rows[i]!.ids]).toEqual([...query, ...kept, ...template.suffix]);
      }
    });

    it('says what was cut, how long pairs were and how many tokens there are', async () => {
      const { truncated, fullLengths, tokens, rows } = await tokenizer.encode('rivers', passages, PAIR_OPTIONS);
      expect(truncated).toEqual([false, false, true, false, false]);
      expect(fullLengths[0]).toBe(rows[0]!.ids.length);
      expect(fullLengths[2]).toBeGreaterThan(300);
      expect(tokens).toBe(rows.reduce((sum, row) => sum + row.ids.length, 0));
    });

    it('answers the same for a passage alone and among others, cold and warm', async () => {
      const alone = await tokenizer.encode('rivers', [passages[4]!], PAIR_OPTIONS);
      const among = await tokenizer.encode('rivers', passages, PAIR_OPTIONS);
      expect([...among.rows[4]!.ids]).toEqual([...alone.rows[0]!.ids]);
    });

    it('makes windows of long passages', async () => {
      const { rows, passageOf, truncated } = await tokenizer.encode('rivers', passages, {
        ...PAIR_OPTIONS,
        longPassages: 'mean',
      });
      expect(passageOf.filter((p) => p === 2).length).toBeGreaterThan(4);
      expect(truncated).toEqual([false, false, false, false, false]);
      for (const { ids } of rows) expect(ids.length).toBeLessThanOrEqual(PAIR_OPTIONS.maxLength);
    });

    it('takes lone surrogates for U+FFFD, and NUL and control characters as they come', async () => {
      const texts = ['a\ud800b', 'a\ufffdb', '\0\u0001\u0002', '\udc00'];
      const { rows } = await tokenizer.encode('\ud800', texts, PAIR_OPTIONS);
      expect([...rows[0]!.ids]).toEqual([...rows[1]!.ids]);
      expect(rows).toHaveLength(4);
    });

    it('answers no passages with no rows', async () => {
      const empty = await tokenizer.encode('rivers', [], PAIR_OPTIONS);
      expect(empty).toMatchObject({ rows: [], truncated: [], tokens: 0 });
      expect(empty.passageOf).toHaveLength(0);
    });

    it('takes thousands of passages at once', async () => {
      const many = Array.from({ length: 2500 }, (_, i) => `passage number ${i}`);
      const { rows, passageOf } = await tokenizer.encode('rivers', many, PAIR_OPTIONS);
      const one = await tokenizer.encode('rivers', [many[2345]!], PAIR_OPTIONS);
      expect(rows).toHaveLength(2500);
      expect(passageOf[2345]).toBe(2345);
      expect([...rows[2345]!.ids]).toEqual([...one.rows[0]!.ids]);
    });

    it('refuses a length without room, by field', async () => {
      const attempt = tokenizer.encode('q', ['p'], { ...PAIR_OPTIONS, maxLength: 3 });
      await expect(attempt).rejects.toMatchObject({ code: 'invalid_field', params: { field: 'maxLength' } });
    });

    it('rejects with the reason of the signal', async () => {
      const reason = new Error('the client went away');
      const aborted = tokenizer.encode('q', ['p'], PAIR_OPTIONS, AbortSignal.abort(reason));
      await expect(aborted).rejects.toBe(reason);
    });

    it('refuses requests after close, and lets those under way finish', async () => {
      const own = await open();
      const underWay = own.tokenizer.encode('q', ['something new to tokenize'], PAIR_OPTIONS);
      const closing = own.tokenizer.close();
      await expect(own.tokenizer.encode('q', ['p'], PAIR_OPTIONS)).rejects.toMatchObject({ code: 'shutting_down' });
      expect((await underWay).rows).toHaveLength(1);
      await closing;
      await own.tokenizer.close();
      await own.close();
    });
  });
}
