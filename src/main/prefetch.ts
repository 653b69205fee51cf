import type { Config } from '../config.ts';
import { readCatalog } from '../registry/catalog.ts';
import { STABLE } from '../registry/labels.ts';
import { parseReference } from '../registry/names.ts';
import type { TokenizerPool } from '../tokenization/index.ts';

/** Folder of the version that will answer requests naming no model, as far as a look at the registry's folder tells. */
async function likelyFolder({ folder, defaultModel }: Config['registry']): Promise<string | undefined> {
  const { models, defaultModel: named } = await readCatalog(folder);
  const reference = defaultModel ?? named;
  const wanted = reference === undefined ? undefined : parseReference(reference);
  const model = wanted ? models.find(({ name }) => name === wanted.name) : models[0];
  const version = wanted?.version ?? model?.labels?.get(wanted?.label ?? STABLE);
  return (model?.versions.find((one) => one.version === version) ?? model?.versions[0])?.folder;
}

/**
 * Opens the default model's tokenizer while the inference hosts are still starting. Admission and the first request then find it in memory.
 * @returns lets it go again; call it when the server is warm.
 */
export function prefetchTokenizer(config: Config, tokenizers: TokenizerPool): () => Promise<void> {
  const opened = likelyFolder(config.registry)
    .then((folder) => (folder === undefined ? undefined : tokenizers.for(folder)))
    // A guess that fails costs nothing; admission says what is wrong with the model.
    .catch(() => undefined);
  return async () => {
    await (await opened)?.close();
  };
}
