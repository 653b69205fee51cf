import { join } from 'node:path';
import { describe, WinnowError } from '../errors.ts';
import { asObject, type JsonObject } from '../util/json-files.ts';
import { type FoundTemplate, readsTextsOnly } from '../util/known-templates.ts';
import { activationOf, classOf } from './adoption.ts';
import { type ListedFolder, readJson, readOptionalObject } from './folder-files.ts';
import { excerpt } from './model-names.ts';
import type { Activation, SideEncoder } from './registry-types.ts';

/*
 * Settings of a version in the files that sentence-transformers writes next to config.json. File and field names, and which file counts
 * when two differ, are those of sentence-transformers 6.2 (cross_encoder/model.py, base/model.py, base/modules/transformer.py). A setting
 * that Winnow cannot apply is refused, and the message says what to do. One without effect on the scores of pairs is a warning.
 */

export const MODEL_SETTINGS = 'config_sentence_transformers.json';
export const MODULE_SETTINGS = 'sentence_bert_config.json';
export const MODULES = 'modules.json';
export const ADAPTER_SETTINGS = 'adapter_config.json';

export interface SentenceSettings {
  /** That of model.json, else of sentence-transformers' own file; undefined without both. */
  readonly activation: Activation | undefined;
  /** Most tokens of a pair. */
  readonly maxLength: number | undefined;
  /** What the files say and Winnow does not apply, one sentence each. */
  readonly warnings: readonly string[];
}

/** What other files state, which counts before those of sentence-transformers or is compared with them. */
interface Stated {
  /** `activation` of model.json. */
  readonly activation: Activation | undefined;
  readonly config: JsonObject;
  readonly tokenizerConfig: JsonObject;
  readonly template: FoundTemplate | undefined;
  /** Of a bi-encoder: its prompts are prefixes. */
  readonly encoder?: SideEncoder | undefined;
  /** That of model.json: the graph computes the modules in the folder. */
  readonly wholeGraph?: boolean | undefined;
}

function refuse(file: string, field: string, expected: string, got: string): never {
  throw new WinnowError('invalid_manifest', { file, expected, got: excerpt(got), field });
}

/** Modules without an effect on scores: dropout is off when a model serves. */
const NEUTRAL_MODULES = new Set(['Dropout', 'Identity']);

const GRAPH_ONLY =
  'only a Transformer, because the ONNX file computes no other module; export the whole model as one graph with output logits, ' +
  `then remove ${MODULES} and the folders of modules`;

async function readModules(folder: ListedFolder): Promise<readonly unknown[]> {
  if (!folder.paths.has(MODULES)) return [];
  const modules = await readJson(join(folder.folder, MODULES), MODULES, folder.limits);
  if (!Array.isArray(modules) || modules.length === 0)
    return refuse(MODULES, 'type', 'an array of modules', describe(modules));
  return modules;
}

const nameOf = (type: unknown, index: number): string =>
  typeof type === 'string' ? classOf(type) : refuse(MODULES, `[${index}].type`, 'a class name', describe(type));

/**
 * Returns the folders of the modules that follow the encoder in modules.json.
 * @returns None where nothing follows it that has an effect on scores.
 * @throws WinnowError `invalid_manifest`.
 */
export async function listModules(folder: ListedFolder): Promise<readonly string[]> {
  const [, ...rest] = await readModules(folder);
  const modules = rest.map(asObject);
  const names = modules.map(({ type }, i) => nameOf(type, i + 1));
  if (names.every((name) => NEUTRAL_MODULES.has(name))) return [];
  return modules.map(({ path }, i) => (typeof path === 'string' && path !== '' ? path : names[i]!));
}

/** Checks that the graph computes every module in modules.json. */
async function checkModules(folder: ListedFolder): Promise<void> {
  for (const [i, value] of (await readModules(folder)).entries()) checkModule(value, i);
}

function checkModule(value: unknown, index: number): void {
  const { type, path } = asObject(value);
  const name = nameOf(type, index);
  const isGraph = index === 0 && name === 'Transformer';
  if (!isGraph && !NEUTRAL_MODULES.has(name)) refuse(MODULES, `[${index}].type`, GRAPH_ONLY, name);
  if (isGraph && path !== undefined && path !== '')
    refuse(MODULES, `[${index}].path`, 'the Transformer in the folder itself', describe(path));
}

/** Folders of modules as sentence-transformers names them: index and class. */
const MODULE_FOLDER = /^\d+_[A-Za-z]\w*\//;

/** Refuses files of modules and adapters, whose weights may be missing from the graph. */
function checkForeignFiles(paths: ReadonlySet<string>, wholeGraph: boolean): void {
  for (const path of paths) {
    const base = path.slice(path.lastIndexOf('/') + 1);
    if (base === ADAPTER_SETTINGS || base.startsWith('adapter_model.'))
      refuse(
        path,
        'adapter',
        `an export without an adapter; merge it (merge_and_unload), export again and remove ${base}`,
        'an adapter',
      );
    if (!wholeGraph && MODULE_FOLDER.test(path))
      refuse(
        path,
        'files',
        'no module next to the ONNX file; if the graph computes it, or the model does without it, remove its folder',
        'a module of sentence-transformers',
      );
  }
}

/** Checks that no prompt is put before queries; returns warnings about prompts that have no effect. */
function checkPrompts(settings: JsonObject): readonly string[] {
  const prompts = Object.entries(asObject(settings.prompts)).filter(([, text]) => text !== '' && text !== null);
  const chosen = settings.default_prompt_name ?? undefined;
  if (chosen === undefined)
    return prompts.length === 0
      ? []
      : [`${MODEL_SETTINGS} names prompts (${excerpt(prompts.map(([name]) => name).join(', '))}); none is applied`];
  if (typeof chosen !== 'string')
    return refuse(MODEL_SETTINGS, 'default_prompt_name', 'a string or null', describe(chosen));
  if (!Object.hasOwn(asObject(settings.prompts), chosen))
    return refuse(MODEL_SETTINGS, 'default_prompt_name', 'one of the prompts, or null', chosen);
  const prompt = asObject(settings.prompts)[chosen];
  if (prompt === '' || prompt === null) return [];
  return refuse(
    MODEL_SETTINGS,
    'default_prompt_name',
    'null, because no prompt is put before queries; let clients write it before every query, then set the field to null',
    `${chosen} (${JSON.stringify(prompt)})`,
  );
}

/** Whether the default prompt is the instruction of a template. */
const isPrompted = (template: FoundTemplate | undefined) =>
  template?.origin === 'chat template' || template?.origin === 'model.json';

const KIND = 'CrossEncoder';

/** Returns a warning if config.json states another activation than the one that counts. */
function contradiction(config: JsonObject, stated: unknown): readonly string[] {
  const other = asObject(config.sentence_transformers).activation_fn;
  if (typeof other !== 'string' || typeof stated !== 'string' || classOf(other) === classOf(stated)) return [];
  return [`config.json says ${excerpt(other)}; ${MODEL_SETTINGS} counts, which says ${excerpt(stated)}`];
}

async function readModelSettings(
  folder: ListedFolder,
  { activation, config, template, encoder }: Stated,
): Promise<Pick<SentenceSettings, 'activation' | 'warnings'>> {
  if (encoder) return { activation, warnings: [] };
  const settings = await readOptionalObject(folder, MODEL_SETTINGS);
  const kind = settings.model_type ?? KIND;
  if (kind !== KIND)
    return {
      activation,
      warnings: [`${MODEL_SETTINGS} is that of a ${excerpt(String(kind))}, not of a ${KIND}; it is not applied`],
    };
  const warnings = isPrompted(template) ? [] : checkPrompts(settings);
  if (activation !== undefined) return { activation, warnings };
  return {
    activation: activationOf(settings.activation_fn, MODEL_SETTINGS, 'activation_fn'),
    warnings: [...warnings, ...contradiction(config, settings.activation_fn)],
  };
}

const GENERATIVE = new Set(['text-generation', 'any-to-any']);

/** Settings of the tokenizer's call that pairs have anyway, or that do not change scores. */
const NEUTRAL_PROCESSING = new Set(['padding', 'return_tensors', 'pad_to_multiple_of', 'return_attention_mask']);

function checkProcessing(settings: JsonObject): void {
  const { common, text } = asObject(settings.processing_kwargs);
  const named = Object.keys({ ...asObject(common), ...asObject(text) }).filter((key) => !NEUTRAL_PROCESSING.has(key));
  if (named.length > 0)
    refuse(
      MODULE_SETTINGS,
      'processing_kwargs',
      'none; state `maxLength` and `truncation` in model.json and remove them',
      named.join(', '),
    );
}

/** Checks `sentence_bert_config.json` and returns its length. */
async function readModuleSettings(folder: ListedFolder, { template }: Stated): Promise<number | undefined> {
  const settings = await readOptionalObject(folder, MODULE_SETTINGS);
  const { max_seq_length: length = null, do_lower_case: lower = false, transformer_task: task } = settings;
  if (length !== null && !(typeof length === 'number' && Number.isInteger(length) && length >= 8))
    return refuse(MODULE_SETTINGS, 'max_seq_length', 'an integer of 8 or more, or null', describe(length));
  if (typeof lower !== 'boolean') return refuse(MODULE_SETTINGS, 'do_lower_case', 'true or false', describe(lower));
  // A language model that reads a template, or a pair on purpose, gives the score of its answers.
  const isScorer = template !== undefined || readsTextsOnly(settings);
  if (typeof task === 'string' && GENERATIVE.has(task) && !isScorer)
    return refuse(
      MODULE_SETTINGS,
      'transformer_task',
      'sequence-classification; export the model with a classification head',
      task,
    );
  checkProcessing(settings);
  return length ?? undefined;
}

/**
 * Reads what sentence-transformers wrote about a cross-encoder: `config_sentence_transformers.json`, `sentence_bert_config.json` and
 * `modules.json`, as far as they exist. (`do_lower_case` is applied by tokenization.)
 * @throws WinnowError `invalid_manifest` for settings, modules and adapters that would change scores and cannot be applied.
 */
export async function readSentenceTransformers(folder: ListedFolder, stated: Stated): Promise<SentenceSettings> {
  if (!stated.wholeGraph) await checkModules(folder);
  checkForeignFiles(folder.paths, stated.wholeGraph ?? false);
  const model = await readModelSettings(folder, stated);
  return {
    activation: model.activation,
    maxLength: await readModuleSettings(folder, stated),
    warnings: [...model.warnings, ...unusedWeights(folder.paths), ...unusedTemplates(folder.paths, stated)],
  };
}

const KNOWN_WEIGHTS = /^(model|pytorch_model|training_args|optimizer|scheduler|rng_state|scaler)\b|^model[-_.]/;

/** Weights in other formats than ONNX are those of the graph if they have a usual name; a head of its own has another. */
function unusedWeights(paths: ReadonlySet<string>): readonly string[] {
  const isHead = (path: string) => /\.(safetensors|pt|pth)$/.test(path) && !KNOWN_WEIGHTS.test(path);
  const heads = [...paths].filter((path) => !path.includes('/') && isHead(path));
  return heads.map((path) => `${excerpt(path)} is not read; only weights in the ONNX file count`);
}

/** A decoder has a template of its own, which is in model.json once it is imported; the chat is for conversations. */
function unusedTemplates(
  paths: ReadonlySet<string>,
  { tokenizerConfig, template }: Pick<Stated, 'tokenizerConfig' | 'template'>,
): readonly string[] {
  if (template) return [];
  const found = ['chat_template.jinja', 'chat_template.json'].filter((path) => paths.has(path));
  if (tokenizerConfig.chat_template) found.push('chat_template of tokenizer_config.json');
  return found.map((what) => `${what} is not applied; pairs are joined as the tokenizer joins two texts`);
}
