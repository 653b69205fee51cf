import type { Config } from '../config/config-schema.ts';
import { readDefaultVersion } from '../registry/registry-catalog.ts';
import type { TokenizerPool } from '../tokenization/tokenizer-pool.ts';

/**
 * Opens the default model's tokenizer while the inference hosts are still starting. Admission and the first request then find it in memory.
 * @returns closes it; call it when the server is warm.
 */
export function prefetchTokenizer(config: Config, tokenizers: TokenizerPool): () => Promise<void> {
  const { folder, defaultModel } = config.registry;
  const opened = readDefaultVersion(folder, defaultModel)
    .then((version) => version && tokenizers.for(version.folder))
    // A failure here costs nothing: admission reports what is wrong with the model.
    .catch(() => undefined);
  return async () => {
    await (await opened)?.close();
  };
}
