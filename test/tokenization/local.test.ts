import { expect, it } from 'vitest';
import { createLocalTokenizer } from '../../src/tokenization/local.ts';
import { PAIR_OPTIONS, pairTokenizerContract } from '../contracts/pair-tokenizer.ts';
import { SHIPPED } from './corpora.ts';

for (const cacheBytes of [0, 1 << 20])
  pairTokenizerContract(`the local tokenizer with a cache of ${cacheBytes} bytes`, SHIPPED, async () => {
    const tokenizer = await createLocalTokenizer(SHIPPED, { cacheBytes });
    return { tokenizer, close: () => tokenizer.close() };
  });

it('refuses a folder without tokenizer', async () => {
  await expect(createLocalTokenizer('/nowhere')).rejects.toMatchObject({ code: 'invalid_manifest' });
});

it('stops between passages when aborted', async () => {
  const tokenizer = await createLocalTokenizer(SHIPPED);
  const abort = new AbortController();
  const passages = Array.from({ length: 3000 }, (_, i) => `${i} ${'word '.repeat(200)}`);
  const attempt = tokenizer.encode('q', passages, PAIR_OPTIONS, abort.signal);
  setImmediate(() => abort.abort());
  await expect(attempt).rejects.toMatchObject({ name: 'AbortError' });
});
