import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { distinct } from '../../src/rerank/known-scores.ts';

describe('texts that are scored once', () => {
  it('are the first of each text, and every place finds its own', async () => {
    const passages = fc.array(fc.constantFrom('a', 'b', 'c', ''), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(passages, fc.func(fc.boolean()), async (texts, isMissing) => {
        const missing = [...texts.keys()].filter((i) => isMissing(i));
        const { once, placeOf } = await distinct(texts, missing);
        expect(placeOf.map((place) => texts[once[place]!])).toEqual(missing.map((i) => texts[i]));
        expect(once).toEqual(missing.filter((i, nth) => missing.findIndex((j) => texts[j] === texts[i]) === nth));
      }),
    );
  });

  it('are found in several turns of the event loop where there is much text, until the request ends', async () => {
    const passages = Array.from({ length: 2000 }, (_, i) => `${i} ${'x'.repeat(10_000)}`);
    const all = [...passages.keys()];
    let turns = 0;
    const count = (): void => {
      turns++;
      next = setImmediate(count);
    };
    let next = setImmediate(count);
    const { once } = await distinct(passages, all);
    expect(once).toEqual(all);
    // 20 million units.
    expect(turns).toBeGreaterThanOrEqual(8);
    clearImmediate(next);
    const left = new AbortController();
    const found = distinct(passages, all, left.signal);
    left.abort(new Error('the client left'));
    await expect(found).rejects.toThrow('the client left');
  });
});
