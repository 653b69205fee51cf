import { join } from 'node:path';
import type { Config } from '../config/config.ts';
import type { LoadSpec } from '../inference/inference-types.ts';
import { DEFAULT_LIMITS } from '../registry/folder-files.ts';
import { defaultVersion, readCatalog } from '../registry/registry-catalog.ts';
import { inspect } from '../registry/version-admission.ts';

/**
 * The graph of the default model that would be served, by its files alone; nothing where there is none.
 * @throws WinnowError as `inspect` does where the files are not in order.
 */
export async function defaultGraph({ registry }: Config): Promise<LoadSpec | undefined> {
  const limits = { ...DEFAULT_LIMITS, maxBytes: registry.maxModelBytes };
  const chosen = defaultVersion(await readCatalog(registry.folder, limits), registry.defaultModel);
  if (!chosen) return undefined;
  const { version, graph } = await inspect(chosen, { limits, variant: registry.variant, provider: 'cpu' });
  const key = `${chosen.name}@${chosen.version}`;
  const file = join(version.folder, graph.variant.file);
  // Padding changes no speed, so the id the tokenizer pads with is not looked up.
  return { key, file, padId: 0, maxLength: version.maxLength, reduction: graph.reduction };
}
