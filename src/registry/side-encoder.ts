import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, WinnowError } from '../errors.ts';
import { asObject, isObject, type JsonObject } from '../util/json-files.ts';
import { namesIn } from '../util/known-templates.ts';
import { classOf } from './adoption.ts';
import { type ListedFolder, readJson, readOptionalObject } from './folder-files.ts';
import type { Manifest } from './manifest.ts';
import type { ModelKind, ServedVersion, SideEncoder } from './registry-types.ts';
import { MODEL_SETTINGS, MODULES } from './sentence-transformers.ts';

/*
 * Bi-encoders: models that make one vector of a text. Query and passage are read apart, each behind its own prefix. Names of files, fields and
 * prompts are those of sentence-transformers 6.2 (`encode_query`, `encode_document`).
 */

/** Returns the kind of a version. */
export const kindOf = ({ encoder, passages }: Pick<ServedVersion, 'encoder' | 'passages'>): ModelKind => {
  if (!encoder) return 'cross-encoder';
  return passages ? 'interaction' : 'bi-encoder';
};

/** Returns what model.json says of a bi-encoder; undefined for other kinds. @throws WinnowError `invalid_manifest` for fields without effect. */
export function statedEncoder(manifest: Manifest | undefined, file: string): SideEncoder | undefined {
  const { kind, queryPrefix, passagePrefix, scale, pooling, normalize } = manifest ?? {};
  const stated = (fields: object) => Object.entries(fields).find(([, value]) => value !== undefined)?.[0];
  if (kind === 'bi-encoder') {
    const open = stated({ pooling, normalize });
    if (open !== undefined)
      throw new WinnowError('invalid_manifest', {
        file,
        field: open,
        expected: 'to be left out of a version; `winnow models import` writes it into the graph',
        got: String(pooling ?? normalize),
      });
    return { queryPrefix: queryPrefix ?? '', passagePrefix: passagePrefix ?? '', scale: scale ?? 1 };
  }
  const field = stated({ queryPrefix, passagePrefix, scale, pooling, normalize });
  if (field === undefined) return undefined;
  const expected = `"kind": "bi-encoder" beside \`${field}\`, which other models do not read`;
  throw new WinnowError('invalid_manifest', { file, field: 'kind', expected, got: kind ?? 'nothing' });
}

/** Prefixes that the cards of models without prompts name, by the name of the model. */
const KNOWN: readonly (readonly [RegExp, Pick<SideEncoder, 'queryPrefix' | 'passagePrefix'>])[] = [
  [/(^|[/_-])(multilingual-)?e5-(small|base|large)(-v2)?$/i, { queryPrefix: 'query: ', passagePrefix: 'passage: ' }],
  [
    /(^|[/_-])bge-(small|base|large)-en(-v1\.5)?$/i,
    { queryPrefix: 'Represent this sentence for searching relevant passages: ', passagePrefix: '' },
  ],
];

const QUERY_PROMPTS = ['query'];
const PASSAGE_PROMPTS = ['document', 'passage', 'corpus'];

/** Returns the prompt of a side as `encode_query` and `encode_document` choose it; undefined without prompts. */
function promptOf(settings: JsonObject, names: readonly string[]): string | undefined {
  const prompts = asObject(settings.prompts);
  const chosen = settings.default_prompt_name;
  const all = typeof chosen === 'string' ? [...names, chosen] : names;
  const name = all.find((one) => Object.hasOwn(prompts, one) && prompts[one] !== null);
  if (name === undefined) return undefined;
  const prompt = prompts[name];
  if (typeof prompt === 'string') return prompt;
  throw new WinnowError('invalid_manifest', {
    file: MODEL_SETTINGS,
    field: `prompts.${name}`,
    expected: 'a text',
    got: describe(prompt),
  });
}

const typeOf = (module: unknown): string => (isObject(module) && typeof module.type === 'string' ? module.type : '');

/** Whether modules make a vector of a text: a Pooling, and none that makes scores. */
async function makesVectors({ folder, limits }: ListedFolder, settings: JsonObject): Promise<boolean> {
  // Not by the list: where modules become part of the graph, it is without them.
  if (settings.model_type === 'CrossEncoder' || !existsSync(join(folder, MODULES))) return false;
  const modules = await readJson(join(folder, MODULES), MODULES, limits);
  const classes = Array.isArray(modules) ? modules.map((module) => classOf(typeOf(module))) : [];
  if (!classes.includes('Pooling') || classes.includes('LogitScore')) return false;
  for (const module of Array.isArray(modules) ? modules.slice(1) : []) {
    const path = isObject(module) && typeof module.path === 'string' ? module.path : '';
    const file = join(path, 'config.json');
    if (path === '' || !existsSync(join(folder, file))) continue;
    if (asObject(await readJson(join(folder, file), file, limits)).module_output_name === 'scores') return false;
  }
  return true;
}

/**
 * Returns what a folder says of a bi-encoder: the prompts of sentence-transformers, else the prefixes that a model of this name is known for.
 * @param manifest model.json, and what flags say in its place.
 * @param names Names that the model is known by beside its folder's.
 * @returns undefined where modules do not make vectors, and for a folder without modules whose manifest does not call it a bi-encoder.
 * @throws WinnowError `invalid_manifest`.
 */
export async function foundEncoder(
  listed: ListedFolder,
  manifest: Manifest | undefined,
  names: readonly string[],
): Promise<SideEncoder | undefined> {
  const settings = await readOptionalObject(listed, MODEL_SETTINGS);
  const isStated = manifest?.kind === 'bi-encoder' && !existsSync(join(listed.folder, MODULES));
  if (manifest?.kind === 'cross-encoder' || !(isStated || (await makesVectors(listed, settings)))) return undefined;
  const all = [...names, ...namesIn(listed.folder)].map((name) => name.replace(/^models--.*--/, ''));
  const known = KNOWN.find(([pattern]) => all.some((name) => pattern.test(name)))?.[1];
  const { queryPrefix, passagePrefix, scale = 1 } = manifest ?? {};
  return {
    queryPrefix: queryPrefix ?? promptOf(settings, QUERY_PROMPTS) ?? known?.queryPrefix ?? '',
    passagePrefix: passagePrefix ?? promptOf(settings, PASSAGE_PROMPTS) ?? known?.passagePrefix ?? '',
    scale,
  };
}

/** Returns the fields of a manifest that state a bi-encoder. */
export const encoderManifest = (encoder: SideEncoder | undefined): Partial<Manifest> =>
  encoder ? { kind: 'bi-encoder', ...encoder } : {};
