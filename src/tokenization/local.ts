import { loadTokenizer } from './load.ts';
import { CachedPairTokenizer, type IdSource } from './pair-tokenizer.ts';
import { TokenCache } from './token-cache.ts';
import { readTokenTexts } from './token-texts.ts';
import type { TextTokenizer } from './tokenization-types.ts';

/**
 * Creates a pair tokenizer that runs in the calling thread, for training, evaluation and tests, where no other work needs the event loop.
 * @param options.cacheBytes Memory for the ids of texts; 0 (the default) caches none.
 * @throws WinnowError `invalid_manifest` with file and field.
 */
export async function createLocalTokenizer(
  folder: string,
  options: { readonly cacheBytes?: number } = {},
): Promise<TextTokenizer> {
  const { encodeText, ...facts } = await loadTokenizer(folder);
  const source: IdSource = {
    async tokenize(texts, enough, { signal }) {
      return texts.map((text) => {
        signal?.throwIfAborted();
        return encodeText(text, enough);
      });
    },
    spell: async (ids) => Array.from(ids, await readTokenTexts(folder)),
    async close() {},
  };
  return new CachedPairTokenizer(facts, source, new TokenCache(options.cacheBytes ?? 0));
}
