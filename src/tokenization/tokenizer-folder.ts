import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { WinnowError } from '../errors.ts';
import { asObject } from '../util/json-files.ts';
import {
  type FoundTemplate,
  namesIn,
  type TemplateFiles,
  templateFields,
  templateOf,
} from '../util/known-templates.ts';
import { MAX_TOKENIZER_BYTES } from '../util/model-limits.ts';
import { parseJson } from '../util/parse-json.ts';
import { withScoresAsRead } from './json-number.ts';
import { fromMerges, fromVocabText } from './plain-vocabulary.ts';
import { checked, refusal } from './refusal.ts';
import { fromSentencePiece } from './sentencepiece.ts';
import { type Definition, type Part, readDefinition, tokenId, withNamedTokens } from './tokenizer-definition.ts';
import { MAX_SETTINGS_BYTES } from './tokenizer-limits.ts';
import { readSettings, type TokenizerSettings } from './tokenizer-settings.ts';

export interface TokenizerFolder {
  readonly folder: string;
  readonly definition: Definition;
  readonly settings: TokenizerSettings;
  /** Of a decoder: how query and passage become one text. */
  readonly found: FoundTemplate | undefined;
}

/** The files that a folder's tokenizer may be read from. */
const FILES = [
  'tokenizer_config.json',
  'special_tokens_map.json',
  'config.json',
  'sentence_bert_config.json',
  'config_sentence_transformers.json',
  'modules.json',
  'model.json',
  'chat_template.jinja',
  'added_tokens.json',
  'tokenizer.json',
  'vocab.json',
  'merges.txt',
  'spm.model',
  'vocab.txt',
];

/** Returns a text that changes when one of the tokenizer's files is changed, added or removed. */
export async function tokenizerStamp(folder: string): Promise<string> {
  const stats = await Promise.all(
    FILES.map((name) => stat(join(folder, name), { bigint: true }).catch(() => undefined)),
  );
  return stats.map((s) => (s ? `${s.dev} ${s.ino} ${s.size} ${s.mtimeNs} ${s.ctimeNs}` : '')).join('\n');
}

/** Reads a file; undefined if it does not exist. @throws WinnowError `invalid_manifest` for a file that is unreadable or too large. */
async function readOptional(path: string, limit: number): Promise<Buffer | undefined> {
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw refusal(path, '(whole file)', 'a readable file', String(error));
  }
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw refusal(path, '(whole file)', 'a regular file', 'something else');
    if (stat.size > limit) throw refusal(path, '(whole file)', `at most ${limit} bytes`, stat.size);
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

function jsonOf(bytes: Buffer | undefined, path: string): unknown {
  if (bytes === undefined) return undefined;
  try {
    return parseJson(bytes.toString('utf8'));
  } catch (error) {
    throw refusal(path, '(whole file)', 'JSON', error instanceof Error ? error.message : String(error));
  }
}

/** Reads a JSON file of a folder; undefined if it does not exist. @throws WinnowError `invalid_manifest`. */
async function readJson(folder: string, name: string, limit = MAX_SETTINGS_BYTES): Promise<unknown> {
  const path = join(folder, name);
  return jsonOf(await readOptional(path, limit), path);
}

/**
 * Reads a model folder's tokenizer from `tokenizer.json`, else from `vocab.json` and `merges.txt` (byte-level BPE), `spm.model` (Unigram)
 * or `vocab.txt` (WordPiece), with `tokenizer_config.json`, `special_tokens_map.json` and `config.json` if they exist.
 * @param names Names that the model is known by beside its folder's.
 * @throws WinnowError `invalid_manifest` with file and field.
 */
export async function readTokenizerFolder(folder: string, names: readonly string[] = []): Promise<TokenizerFolder> {
  const pathOf = (name: string) => join(folder, name);
  const files = {
    'tokenizer_config.json': await readJson(folder, 'tokenizer_config.json'),
    'special_tokens_map.json': await readJson(folder, 'special_tokens_map.json'),
    'config.json': await readJson(folder, 'config.json'),
  };
  const settings = readSettings(files, pathOf);
  const whole = await readJson(folder, 'tokenizer.json', MAX_TOKENIZER_BYTES);
  const stated =
    whole === undefined
      ? await buildDefinition(pathOf, settings)
      : withScoresAsRead(readDefinition(whole, pathOf('tokenizer.json')));
  const definition = withNamedTokens(stated, settings.namedTokens, settings.embeddings);
  if (whole === undefined)
    checkAddedTokens(definition, await readJson(folder, 'added_tokens.json'), pathOf('added_tokens.json'));
  const file = 'sentence_bert_config.json';
  const module = await readJson(folder, file);
  const { do_lower_case: isLower } = checked(moduleSchema, module ?? {}, pathOf(file));
  return {
    folder,
    settings,
    definition: isLower ? inLowercase(definition) : definition,
    found: await readTemplate(folder, names, {
      config: asObject(files['config.json']),
      tokenizerConfig: asObject(files['tokenizer_config.json']),
      moduleSettings: asObject(module),
    }),
  };
}

const templatesSchema = z.looseObject(templateFields);

/** Reads how the model of a folder makes one text of query and passage; undefined where it reads pairs. */
async function readTemplate(
  folder: string,
  names: readonly string[],
  read: Pick<TemplateFiles, 'config' | 'tokenizerConfig' | 'moduleSettings'>,
): Promise<FoundTemplate | undefined> {
  const manifest = await readJson(folder, 'model.json');
  const chatTemplate = await readOptional(join(folder, 'chat_template.jinja'), MAX_SETTINGS_BYTES);
  return templateOf({
    ...read,
    stated: checked(templatesSchema, manifest ?? {}, join(folder, 'model.json')),
    settings: asObject(await readJson(folder, 'config_sentence_transformers.json')),
    modules: await readJson(folder, 'modules.json'),
    chatTemplate: chatTemplate?.toString('utf8'),
    names: [...namesIn(folder), ...names],
  });
}

const MAX_ADDED = 1000;
const addedSchema = z.record(z.string(), z.int().min(0)).refine((added) => Object.keys(added).length <= MAX_ADDED, {
  error: `at most ${MAX_ADDED} tokens`,
});

/** Checks that a definition without `tokenizer.json` has the tokens of `added_tokens.json`, which only `tokenizer.json` can add. */
function checkAddedTokens(definition: Definition, value: unknown, file: string): void {
  for (const [token, id] of Object.entries(checked(addedSchema, value ?? {}, file)))
    if (tokenId(definition, token) !== id)
      throw refusal(
        file,
        token,
        'tokens of the vocabulary, or a tokenizer.json with these tokens (`AutoTokenizer.from_pretrained(…).save_pretrained(…)` writes it)',
        id,
      );
}

const moduleSchema = z.looseObject({ do_lower_case: z.boolean().nullish() });

/** Whether a normalizer turns text into lower case: itself, or a step of a sequence. */
function isLowercase(part: Part | null): boolean {
  if (part === null) return false;
  if (part.type === 'Sequence') return Array.isArray(part.normalizers) && part.normalizers.some(isLowercase);
  return part.type === 'Lowercase' || (part.type === 'BertNormalizer' && part.lowercase === true);
}

/** Puts lower case before a tokenizer's normalizer unless it has that step. Source: `Transformer` of sentence-transformers. */
function inLowercase(definition: Definition): Definition {
  const { normalizer } = definition;
  if (isLowercase(normalizer)) return definition;
  const lower = { type: 'Lowercase' };
  const both = normalizer ? { type: 'Sequence', normalizers: [lower, normalizer] } : lower;
  return { ...definition, normalizer: both, raw: { ...definition.raw, normalizer: both } };
}

async function buildDefinition(pathOf: (name: string) => string, settings: TokenizerSettings): Promise<Definition> {
  const read = (name: string) => readOptional(pathOf(name), MAX_TOKENIZER_BYTES);
  const [vocab, merges] = [await read('vocab.json'), await read('merges.txt')];
  if (vocab && merges)
    return fromMerges(jsonOf(vocab, pathOf('vocab.json')), merges.toString('utf8'), pathOf('vocab.json'), settings);
  const spm = await read('spm.model');
  if (spm) return fromSentencePiece(spm, pathOf('spm.model'), settings);
  const lines = await read('vocab.txt');
  if (lines) return fromVocabText(lines.toString('utf8'), pathOf('vocab.txt'), settings);
  throw new WinnowError('invalid_manifest', {
    file: pathOf('tokenizer.json'),
    expected: 'tokenizer.json, vocab.json with merges.txt, spm.model or vocab.txt',
    got: 'none of them',
    field: '(whole file)',
  });
}
