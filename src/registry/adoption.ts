import { describe, WinnowError } from '../errors.ts';
import type { Reduction } from '../inference/inference-types.ts';
import { asObject, type JsonObject } from '../util/json-files.ts';
import { isDecoder } from '../util/known-templates.ts';
import { excerpt } from './model-names.ts';
import type { Activation } from './registry-types.ts';

/*
 * Settings of a version that are adopted from a Hugging Face export without `model.json`: functions of config.json and
 * tokenizer_config.json. Field names are those of transformers and sentence-transformers.
 */

const DEFAULT_LENGTH = 512;

/** What the cards of Qwen3-Reranker and mxbai-rerank-v2 score at most. Their positions go further, at a memory that grows with the square. */
const DECODER_LENGTH = 8192;

/** Families whose position ids start after the padding id, so that the first of `max_position_embeddings` are unused. */
const OFFSET_FAMILIES = new Set([
  'roberta',
  'xlm-roberta',
  'xlm-roberta-xl',
  'camembert',
  'mpnet',
  'longformer',
  'data2vec-text',
  'roberta-prelayernorm',
  'xmod',
  'ibert',
  'luke',
  'lilt',
]);

function refuse(field: string, expected: string, got: string, file = 'config.json'): never {
  throw new WinnowError('invalid_manifest', { file, expected, got: excerpt(got), field });
}

/**
 * Returns the position of a row's first token: 0, or in RoBERTa's family the one after that of padding. MPNet's is fixed.
 * Source: `create_position_ids_from_input_ids` of transformers.
 */
export function adoptFirstPosition(config: JsonObject): number {
  const family = String(config.model_type);
  if (!OFFSET_FAMILIES.has(family)) return 0;
  const { pad_token_id: pad } = config;
  return family !== 'mpnet' && typeof pad === 'number' && Number.isInteger(pad) && pad >= 0 ? pad + 1 : 2;
}

/** Lengths from here on mean that `model_max_length` was never set; no model has so many positions. */
const NO_LIMIT = 10_000_000;

function length(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= 8 && value < NO_LIMIT ? value : undefined;
}

/**
 * Returns the largest length of a pair: the lower of the stated limit and the graph's positions; 512 without both.
 * @param stated `max_seq_length` of sentence-transformers, which counts before the tokenizer's `model_max_length`.
 */
export function adoptMaxLength(config: JsonObject, tokenizerConfig: JsonObject, stated?: number): number {
  const positions = length(config.max_position_embeddings);
  const limits = [
    stated ?? length(tokenizerConfig.model_max_length),
    stated === undefined && isDecoder(config) ? DECODER_LENGTH : undefined,
    positions && positions - adoptFirstPosition(config),
  ].filter((n) => n !== undefined);
  return limits.length > 0 ? Math.min(...limits) : DEFAULT_LENGTH;
}

/** Activations by the last part of a Python path: `torch.nn.modules.activation.Sigmoid` → `Sigmoid`. */
const ACTIVATIONS: Readonly<Record<string, Activation>> = { Sigmoid: 'sigmoid', Identity: 'none' };

/** Returns the class that a Python path names. */
export const classOf = (path: string): string => path.slice(path.lastIndexOf('.') + 1);

/**
 * Returns the activation that a Python path names; undefined where none is stated.
 * @throws WinnowError `invalid_manifest` for an unknown activation.
 */
export function activationOf(stated: unknown, file: string, field: string): Activation | undefined {
  if (stated === undefined || stated === null) return undefined;
  if (typeof stated !== 'string') return refuse(field, 'a string', describe(stated), file);
  const name = classOf(stated);
  if (Object.hasOwn(ACTIVATIONS, name)) return ACTIVATIONS[name]!;
  return refuse(field, 'Sigmoid or Identity (or `activation` in model.json)', stated, file);
}

/**
 * Returns the activation in config.json, else the sigmoid.
 * @throws WinnowError `invalid_manifest` for an unknown activation.
 */
export function adoptActivation(config: JsonObject): Activation {
  const stated = asObject(config.sentence_transformers).activation_fn ?? config.sbert_ce_default_activation_function;
  return activationOf(stated, 'config.json', 'sentence_transformers.activation_fn') ?? 'sigmoid';
}

const POSITIVE = /^(relevant|positive|entailment|yes|true|1|label_1)$/i;

/** Returns the number of labels in config.json, as transformers reads it. */
function statedLabels(config: JsonObject): number | undefined {
  const names = Object.keys(asObject(config.id2label)).length;
  return names || count(config.num_labels);
}

function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 ? value : undefined;
}

/**
 * Returns how logits of `width` classes become one score.
 * @param width Second dimension of the graph's output if it is fixed.
 * @throws WinnowError `invalid_manifest` for more than two classes of which none is called relevant, positive, entailment, yes or true.
 */
export function adoptReduction(config: JsonObject, width: number | undefined): Reduction {
  const labels = width ?? statedLabels(config) ?? 1;
  if (labels === 1) return { kind: 'single' };
  const names = Object.entries(asObject(config.id2label));
  const index = names.find(([, name]) => typeof name === 'string' && POSITIVE.test(name))?.[0];
  if (index !== undefined && /^\d{1,4}$/.test(index) && Number(index) < labels)
    return { kind: 'class', index: Number(index) };
  if (labels === 2) return { kind: 'class', index: 1 };
  return refuse(
    'id2label',
    'one label, two, or one called "relevant" (or `reduction` in model.json)',
    `${labels} labels`,
  );
}
