import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Provider } from '../../src/inference/inference-types.ts';
import { readWholeModel } from '../../src/onnx/architectures/whole-model.ts';
import { writeModel } from '../../src/onnx/model-file.ts';
import { prepare } from '../../src/onnx/prepare.ts';
import { probeShapes } from '../../src/onnx/probe.ts';
import { foldConstants } from '../../src/onnx/rewrites/fold.ts';
import { halveModel } from '../../src/onnx/rewrites/fp16.ts';
import { fuseAttention, type MaskForm } from '../../src/onnx/rewrites/fused-attention.ts';
import { attachHead, freshHead } from '../../src/onnx/rewrites/head.ts';
import { fuseSkipNorm } from '../../src/onnx/rewrites/skip-norm.ts';
import { writeSafetensors } from '../../src/onnx/safetensors.ts';
import type { Context } from './context.ts';
import { bertShapes, type EncoderSize, modernBertShapes, randomWeights } from './random-weights.ts';

export type ModelName = 'minilm-l6' | 'minilm-l12' | 'bert-base' | 'modernbert-base';

export const LARGER: readonly ModelName[] = ['minilm-l12', 'bert-base', 'modernbert-base'];

export type Precision = 'fp32' | 'fp16';

/** A model folder in Hugging Face layout with both files. */
export interface BenchModel {
  readonly name: ModelName;
  readonly folder: string;
  readonly vocabulary: number;
  readonly maxLength: number;
}

/** How attention is written: as exported, or as one node that is told the rows' lengths, or lengths and starts. */
export type Form = 'plain' | MaskForm;

export function fileOf({ folder }: BenchModel, precision: Precision, form: Form = 'plain'): string {
  if (form !== 'plain') return join(folder, 'graphs', `${precision}-${form}.onnx`);
  return join(folder, 'onnx', precision === 'fp16' ? 'model_fp16.onnx' : 'model.onnx');
}

/** Returns the forms that a provider has kernels for, the one that is served first. The processor has none for starts, WebGPU none for lengths. */
export const formsOf = (provider: Provider): readonly Form[] =>
  provider === 'cuda' ? ['lengths', 'plain', 'starts'] : provider === 'cpu' ? ['lengths', 'plain'] : ['plain'];

type Fields = Readonly<Record<string, unknown>> & EncoderSize;

const bert = (hidden: number, layers: number): Fields => ({
  model_type: 'bert',
  architectures: ['BertForSequenceClassification'],
  vocab_size: 30_522,
  hidden_size: hidden,
  num_hidden_layers: layers,
  num_attention_heads: 12,
  intermediate_size: 4 * hidden,
  max_position_embeddings: 512,
  type_vocab_size: 2,
  id2label: { 0: 'LABEL_0' },
  pad_token_id: 0,
});

const MODERN: Fields = {
  model_type: 'modernbert',
  architectures: ['ModernBertForSequenceClassification'],
  vocab_size: 50_368,
  hidden_size: 768,
  num_hidden_layers: 22,
  num_attention_heads: 12,
  intermediate_size: 1152,
  max_position_embeddings: 8192,
  local_attention: 128,
  global_attn_every_n_layers: 3,
  classifier_pooling: 'mean',
  id2label: { 0: 'LABEL_0' },
  pad_token_id: 0,
};

const SIZES: Readonly<Record<ModelName, Fields>> = {
  'minilm-l6': bert(384, 6),
  'minilm-l12': bert(384, 12),
  'bert-base': bert(768, 12),
  'modernbert-base': MODERN,
};

const shapesOf = (fields: Fields) => (fields.model_type === 'bert' ? bertShapes(fields) : modernBertShapes(fields));

/** Returns the sizes of a dry run: two layers, narrow. */
const shrunk = (fields: Fields): Fields => ({
  ...fields,
  hidden_size: 48,
  num_hidden_layers: fields.model_type === 'modernbert' ? 4 : 2,
  num_attention_heads: 4,
  intermediate_size: 64,
  max_position_embeddings: 512,
});

const TOKENIZER_FILES = ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json', 'vocab.txt'];

function copyTokenizer(from: string, to: string, isUntyped: boolean): void {
  for (const file of TOKENIZER_FILES.filter((name) => existsSync(join(from, name))))
    copyFileSync(join(from, file), join(to, file));
  if (!isUntyped) return;
  const path = join(to, 'tokenizer_config.json');
  const settings = JSON.parse(readFileSync(path, 'utf8'));
  writeFileSync(path, JSON.stringify({ ...settings, model_input_names: ['input_ids', 'attention_mask'] }));
}

const SEED = 3;
const MAX_LENGTH = 512;

/** Reads the real MiniLM-L6, an encoder, and adds a head that compares the mean of the states, so that it gives a score. */
async function realModel(folder: string) {
  const { hidden_size: hidden } = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
  const model = await readWholeModel(folder);
  if (model.graph.outputs.some(({ name }) => name === 'logits')) return model;
  return attachHead(model, freshHead({ pooling: 'mean', hidden, seed: SEED, dense: 'tanh' }));
}

async function write(name: ModelName, context: Context, folder: string): Promise<void> {
  const isReal = name === 'minilm-l6' && context.realModel !== '' && !context.small;
  const fields = context.small ? shrunk(SIZES[name]) : SIZES[name];
  mkdirSync(join(folder, 'onnx'), { recursive: true });
  copyTokenizer(context.tokenizer, folder, name === 'modernbert-base');
  writeFileSync(join(folder, 'config.json'), JSON.stringify(fields));
  if (!isReal) {
    await writeSafetensors(join(folder, 'model.safetensors'), randomWeights(shapesOf(fields)));
  }
  const model = isReal ? await realModel(context.realModel) : await readWholeModel(folder);
  const prepared = await prepare(model, { output: 'logits' });
  const whole = await foldConstants(prepared.model);
  const half = halveModel(whole, await probeShapes(whole));
  await writeModel(join(folder, 'onnx/model.onnx'), whole);
  await writeModel(join(folder, 'onnx/model_fp16.onnx'), half);
  mkdirSync(join(folder, 'graphs'));
  for (const [precision, source] of [
    ['fp32', whole],
    ['fp16', half],
  ] as const)
    for (const form of ['lengths', 'starts'] as const) {
      const fused = await fuseAttention(source, Math.min(MAX_LENGTH, fields.max_position_embeddings), form);
      await writeModel(join(folder, 'graphs', `${precision}-${form}.onnx`), await fuseSkipNorm(fused.model));
    }
}

/** Writes config.json, tokenizer and random weights of a model for PyTorch. @returns the folder. */
export async function randomFolder(name: ModelName, context: Context): Promise<string> {
  const folder = join(context.at, 'torch', name);
  const fields = context.small ? shrunk(SIZES[name]) : SIZES[name];
  mkdirSync(folder, { recursive: true });
  copyTokenizer(context.tokenizer, folder, name === 'modernbert-base');
  writeFileSync(join(folder, 'config.json'), JSON.stringify(fields));
  await writeSafetensors(join(folder, 'model.safetensors'), randomWeights(shapesOf(fields)));
  return folder;
}

/** Makes a model where no check of this run has made it yet. Weights stay in its folder for PyTorch where they are random. */
export async function benchModel(name: ModelName, context: Context): Promise<BenchModel> {
  const folder = join(context.at, 'models', name);
  if (!existsSync(folder)) {
    const draft = `${folder}.${process.pid}`;
    await write(name, context, draft);
    if (existsSync(folder)) rmSync(draft, { recursive: true });
    else renameSync(draft, folder);
  }
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as Fields;
  return {
    name,
    folder,
    vocabulary: config.vocab_size,
    maxLength: Math.min(MAX_LENGTH, config.max_position_embeddings),
  };
}

/** Waits until another process of this run has made a model. @throws Error after the deadline. */
export async function awaitModel(name: ModelName, context: Context, deadlineMs: number): Promise<BenchModel> {
  const until = performance.now() + deadlineMs;
  while (!existsSync(join(context.at, 'models', name))) {
    if (performance.now() > until) throw new Error(`expected ${name} within ${deadlineMs} ms, got none`);
    await pause(200);
  }
  return benchModel(name, context);
}
