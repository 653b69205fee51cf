import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { JsonObject } from '../util/json-files.ts';
import { type FoundTemplate, namesIn, templateOf } from '../util/known-templates.ts';
import { takesInstruction } from '../util/text-template.ts';
import { type ListedFolder, openRegular, readJson, readOptionalObject } from './folder-files.ts';
import type { Manifest } from './manifest.ts';
import { MODEL_SETTINGS, MODULE_SETTINGS, MODULES } from './sentence-transformers.ts';

const CHAT_TEMPLATE = 'chat_template.jinja';

interface Files {
  readonly manifest: Manifest | undefined;
  readonly config: JsonObject;
  readonly tokenizerConfig: JsonObject;
}

/** Reads a small text file; undefined where the folder lacks it, or it is larger than any template. */
async function readOptionalText({ folder, paths, limits }: ListedFolder, file: string): Promise<string | undefined> {
  if (!paths.has(file)) return undefined;
  const handle = await openRegular(join(folder, file));
  try {
    const { size } = await handle.stat();
    return size > limits.maxJsonBytes ? undefined : await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

/**
 * Returns how a folder's model makes one text of query and passage; undefined where it reads pairs.
 * @param names Names that the model is known by beside its folder's.
 */
export async function readTemplate(
  listed: ListedFolder,
  { manifest, config, tokenizerConfig }: Files,
  names: readonly string[],
): Promise<FoundTemplate | undefined> {
  const modules = join(listed.folder, MODULES);
  return templateOf({
    stated: manifest ?? {},
    config,
    tokenizerConfig,
    settings: await readOptionalObject(listed, MODEL_SETTINGS),
    moduleSettings: await readOptionalObject(listed, MODULE_SETTINGS),
    // Not by the list: where modules become part of the graph, it is without them.
    modules: existsSync(modules) ? await readJson(modules, MODULES, listed.limits) : undefined,
    chatTemplate: await readOptionalText(listed, CHAT_TEMPLATE),
    names: [...namesIn(listed.folder), ...names],
  });
}

/** Returns the fields of a manifest that state a template. Passages are cut first, so that the query stays whole. */
export function templateManifest(found: FoundTemplate | undefined, manifest?: Partial<Manifest>): Partial<Manifest> {
  if (!found) return {};
  const { template, trueToken, falseToken, namesTokens } = found;
  return {
    template,
    ...(namesTokens && { trueToken, falseToken }),
    truncation: manifest?.truncation ?? 'only_second',
  };
}

/** Returns a warning about an instruction of model.json that its model does not read. */
export const instructionWarning = (
  found: FoundTemplate | undefined,
  manifest: Manifest | undefined,
): readonly string[] =>
  manifest?.instruction === undefined || (found && takesInstruction(found.template))
    ? []
    : ['`instruction` of model.json has no effect: the model has no template with a place for it'];

/** Returns a warning about a template that nothing in the folder states. */
export const templateWarning = (found: FoundTemplate | undefined): readonly string[] =>
  found?.origin === 'assumed'
    ? [
        'no file says how query and passage become text: that of Qwen3-Reranker is used; state another one as `template` in model.json',
      ]
    : [];
