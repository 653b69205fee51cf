import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { isObject, readJsonFile } from '../../util/json-files.ts';
import type { PoolingMode } from '../../util/pooling-modes.ts';
import type { Answers } from './checkpoint.ts';
import {
  answersIn,
  appendDense,
  appendLayerNorm,
  appendLogitScore,
  appendNormalize,
  appendPooling,
  type Module,
  poolingBy,
  SCORES,
  VECTOR,
} from './module-kinds.ts';
import { Settings } from './settings.ts';

/*
 * Modular folders of sentence-transformers: `modules.json` lists an encoder and the modules that follow it, each with a folder of its own.
 * File, class and field names are those of sentence-transformers 6.2.
 */

const MODULES_FILE = 'modules.json';
const MODEL_FILE = 'config_sentence_transformers.json';
const TRANSFORMER_FILE = 'sentence_bert_config.json';

/** Class → what it appends. Modules that do nothing when a model serves append nothing. */
const KINDS: Readonly<Record<string, Module['append']>> = {
  Dense: appendDense,
  Dropout: () => {},
  LayerNorm: appendLayerNorm,
  LogitScore: appendLogitScore,
  Normalize: appendNormalize,
  Pooling: appendPooling,
};

const LOGIT_SCORE = 'LogitScore';

/** How a bi-encoder's vectors are compared. */
const SIMILARITIES = ['cosine', 'dot'] as const;
export type Similarity = (typeof SIMILARITIES)[number];

/** The modules of a cross-encoder, or of a bi-encoder. */
export interface Modules {
  readonly folder: string;
  /** Those after the encoder, in order. */
  readonly list: readonly Module[];
  /** What the encoder gives, and the feature it is. */
  readonly encoder: { readonly output: 'last_hidden_state' | 'logits' | typeof VECTOR; readonly feature: string };
  /** Of a language model: the tokens that its score is read from. */
  readonly answers: Answers | undefined;
  /** Of a bi-encoder; undefined where the modules make scores. */
  readonly similarity: Similarity | undefined;
}

const fault = (where: string, expected: string, got: unknown) =>
  new WinnowError('invalid_input', {
    where,
    expected,
    got: (typeof got === 'string' ? got : (JSON.stringify(got) ?? 'nothing')).slice(0, 120),
  });

/** An item of modules.json. */
interface Entry {
  /** Place in the file, for errors. */
  readonly where: string;
  /** Class name; with its package where that is not sentence-transformers. */
  readonly type: string;
  readonly path: string;
  readonly settings: Settings;
}

/** A class of sentence-transformers; older versions had other packages. */
const CLASS = /^sentence_transformers\.(?:\w+\.)*(\w+)$/;
/** A folder inside the model's. */
const FOLDER = /^\w[\w-]*$/;

async function readSettings(file: string): Promise<Settings> {
  return new Settings(file, existsSync(file) ? await readJsonFile(file) : {});
}

async function readEntry(folder: string, value: unknown, index: number): Promise<Entry> {
  const where = `${join(folder, MODULES_FILE)}: [${index}]`;
  const entry = isObject(value) ? value : {};
  const { type, path = '' } = entry;
  if (typeof type !== 'string') throw fault(`${where}.type`, 'a class name', type);
  if (typeof path !== 'string' || !(path === '' || FOLDER.test(path)))
    throw fault(`${where}.path`, 'the name of a folder inside', path);
  // Modules without settings have no file; the encoder's is the model's own.
  const settings = path === '' ? new Settings(where, {}) : await readSettings(join(folder, path, 'config.json'));
  return { where, type: CLASS.exec(type)?.[1] ?? type, path, settings };
}

/** Whether the folder says so, or a module makes scores. */
async function isCrossEncoder(folder: string, entries: readonly Entry[]): Promise<boolean> {
  const stated = (await readSettings(join(folder, MODEL_FILE))).get('model_type');
  const writesScores = ({ type, settings }: Entry) =>
    type === LOGIT_SCORE || settings.get('module_output_name') === SCORES;
  return stated === 'CrossEncoder' || entries.some(writesScores);
}

function checkEncoder({ where, type, path }: Entry): void {
  if (type !== 'Transformer') throw fault(`${where}.type`, 'a Transformer first', type);
  if (path !== '') throw fault(`${where}.path`, 'the Transformer in the folder itself', path);
}

function moduleOf(folder: string, { where, type, path, settings }: Entry): Module {
  const append = Object.hasOwn(KINDS, type) ? KINDS[type] : undefined;
  if (!append) throw fault(`${where}.type`, `one of ${Object.keys(KINDS).join(', ')} of sentence-transformers`, type);
  return { folder: join(folder, path), name: path || type, settings, append };
}

/** What the encoder gives by its task: the output of transformers' class, and the feature that it is unless the file says otherwise. */
const TASKS = {
  'feature-extraction': { output: 'last_hidden_state', feature: 'token_embeddings' },
  'sequence-classification': { output: 'logits', feature: SCORES },
  'text-generation': { output: 'logits', feature: 'causal_logits' },
} as const;

const TASK_NAMES = Object.keys(TASKS) as (keyof typeof TASKS)[];

/** Reads what the encoder gives to the modules after it. */
async function readEncoder(folder: string): Promise<Modules['encoder']> {
  const settings = await readSettings(join(folder, TRANSFORMER_FILE));
  const task = settings.choice('transformer_task', TASK_NAMES, 'feature-extraction');
  const { output, feature: usual } = TASKS[task];
  const text = settings.inside('modality_config')?.inside('text');
  text?.choice('method', ['forward'], 'forward');
  text?.choice('method_output_name', [output], output);
  const feature = settings.get('module_output_name') ?? usual;
  if (typeof feature !== 'string') throw settings.fault('module_output_name', 'a name', JSON.stringify(feature));
  return { output, feature };
}

/** Prefixes are part of the texts, whose tokens are pooled. @throws WinnowError `invalid_input` for a Pooling that leaves them out. */
function checkPrompts(entries: readonly Entry[]): void {
  for (const { type, settings } of entries)
    if (type === 'Pooling' && settings.get('include_prompt') === false)
      throw settings.fault('include_prompt', 'true, because prefixes are pooled with their texts', 'false');
}

/** Reads how vectors are compared; sentence-transformers takes the cosine where nothing is stated. */
const readSimilarity = async (folder: string): Promise<Similarity> =>
  (await readSettings(join(folder, MODEL_FILE))).choice('similarity_fn_name', SIMILARITIES, 'cosine');

/**
 * Reads the modules of a folder that holds a cross-encoder, or a bi-encoder.
 * @param sides Whether those of bi-encoders are wanted; of these, a backbone is the encoder alone.
 * @returns undefined where nothing follows the encoder, and for a bi-encoder that is not wanted.
 * @throws WinnowError `invalid_input` with file and field for modules that are not known.
 */
export async function readModules(folder: string, sides = false): Promise<Modules | undefined> {
  const file = join(folder, MODULES_FILE);
  if (!existsSync(file)) return undefined;
  const listed: unknown = await readJsonFile(file);
  if (!Array.isArray(listed) || listed.length === 0) throw fault(file, 'a list of modules', listed);
  const entries = await Promise.all(listed.map((value: unknown, i) => readEntry(folder, value, i)));
  const [first, ...rest] = entries;
  if (first === undefined || rest.length === 0) return undefined;
  const isCross = await isCrossEncoder(folder, rest);
  if (!isCross && !sides) return undefined;
  checkEncoder(first);
  const list = rest.map((entry) => moduleOf(folder, entry));
  const score = rest.findIndex(({ type }) => type === LOGIT_SCORE);
  const answers = score === -1 ? undefined : answersIn(list[score]!);
  if (!isCross) checkPrompts(rest);
  const similarity = isCross ? undefined : await readSimilarity(folder);
  return { folder, list, encoder: await readEncoder(folder), answers, similarity };
}

/**
 * Returns the modules of a bi-encoder whose pooling is stated: those of the folder with another Pooling, or a Pooling alone.
 * @param found Those of the folder, if it has any.
 */
export function withPooling(folder: string, mode: PoolingMode, found?: Modules): Modules {
  const pooling = { folder, name: 'pooling', settings: new Settings(folder, {}), append: poolingBy(mode) };
  const encoder = { output: 'last_hidden_state', feature: 'token_embeddings' } as const;
  if (!found) return { folder, list: [pooling], encoder, answers: undefined, similarity: 'cosine' };
  return { ...found, list: found.list.map((module) => (module.append === appendPooling ? pooling : module)) };
}

/** Returns the modules of a graph that makes vectors itself: none, and cosines. */
export const ownVectors = (folder: string): Modules => ({
  folder,
  list: [],
  encoder: { output: VECTOR, feature: VECTOR },
  answers: undefined,
  similarity: 'cosine',
});
