import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DataType } from '../../src/onnx/dtypes.ts';
import type { Model } from '../../src/onnx/graph.ts';
import { openRunner } from '../../src/onnx/runner.ts';
import { writeSafetensors } from '../../src/onnx/safetensors.ts';
import { castTensor, float32, numbers, sizeOf, type Tensor, tensor } from '../../src/onnx/tensor.ts';
import { createRandom } from '../../src/util/random.ts';

export type Config = Record<string, unknown>;
export type Weights = Map<string, Tensor>;

const HIDDEN = 8;
const WIDE = 12;
const LABELS = 1;

/** Config of a ModernBERT with one layer of each kind and a classifier over the mean. */
export const MODERNBERT: Config = {
  model_type: 'modernbert',
  architectures: ['ModernBertForSequenceClassification'],
  vocab_size: 24,
  hidden_size: HIDDEN,
  intermediate_size: WIDE,
  num_attention_heads: 2,
  num_hidden_layers: 2,
  layer_types: ['full_attention', 'sliding_attention'],
  local_attention: 4,
  classifier_pooling: 'mean',
  id2label: { 0: 'LABEL_0' },
  max_position_embeddings: 64,
  pad_token_id: 0,
};

function shapesOf(layers: number, vocabulary: number): Readonly<Record<string, readonly number[]>> {
  const layer = (i: number): Readonly<Record<string, readonly number[]>> => ({
    ...(i === 0 ? {} : { [`model.layers.${i}.attn_norm.weight`]: [HIDDEN] }),
    [`model.layers.${i}.attn.Wqkv.weight`]: [3 * HIDDEN, HIDDEN],
    [`model.layers.${i}.attn.Wo.weight`]: [HIDDEN, HIDDEN],
    [`model.layers.${i}.mlp_norm.weight`]: [HIDDEN],
    [`model.layers.${i}.mlp.Wi.weight`]: [2 * WIDE, HIDDEN],
    [`model.layers.${i}.mlp.Wo.weight`]: [HIDDEN, WIDE],
  });
  return {
    'model.embeddings.tok_embeddings.weight': [vocabulary, HIDDEN],
    'model.embeddings.norm.weight': [HIDDEN],
    ...Object.assign({}, ...Array.from({ length: layers }, (_, i) => layer(i))),
    'model.final_norm.weight': [HIDDEN],
    'head.dense.weight': [HIDDEN, HIDDEN],
    'head.norm.weight': [HIDDEN],
    'classifier.weight': [LABELS, HIDDEN],
    'classifier.bias': [LABELS],
  };
}

/** Random weights of `MODERNBERT`, under the names transformers gives them. */
export function modernbertWeights(dtype: DataType = 'float32', vocabulary = 24): Weights {
  return randomWeights(shapesOf(2, vocabulary), dtype);
}

/** Random weights of the given shapes, normal with deviation 0.5. */
export function randomWeights(shapes: Readonly<Record<string, readonly number[]>>, dtype: DataType = 'float32') {
  const random = createRandom(11);
  return new Map(
    Object.entries(shapes).map(([name, dims]) => {
      const values = Float32Array.from({ length: sizeOf(dims) }, () => 0.5 * random.normal());
      return [name, castTensor(float32(dims, values), dtype)];
    }),
  );
}

type Shapes = Readonly<Record<string, readonly number[]>>;

/** Weight and bias of linear layers, by name: [to, from]. */
const linears = (sizes: Readonly<Record<string, readonly [number, number]>>): Shapes =>
  Object.fromEntries(
    Object.entries(sizes).flatMap(([name, [to, from]]) => [
      [`${name}.weight`, [to, from]],
      [`${name}.bias`, [to]],
    ]),
  );

/** Weight and bias of layer normalizations. */
const norms = (size: number, ...names: readonly string[]): Shapes =>
  Object.fromEntries(names.flatMap((name) => [`${name}.weight`, `${name}.bias`].map((full) => [full, [size]])));

const COMMON: Config = {
  vocab_size: 24,
  hidden_size: HIDDEN,
  intermediate_size: WIDE,
  num_attention_heads: 2,
  num_hidden_layers: 2,
  max_position_embeddings: 64,
  id2label: { 0: 'LABEL_0' },
};

/** Config of an MPNet with two layers. */
export const MPNET: Config = {
  ...COMMON,
  model_type: 'mpnet',
  architectures: ['MPNetForSequenceClassification'],
  pad_token_id: 1,
};

/** Shapes of the weights of `MPNET`. */
export function mpnetShapes(): Shapes {
  const layer = (at: string): Shapes => ({
    ...linears(
      Object.fromEntries(['q', 'k', 'v', 'o'].map((name) => [`${at}attention.attn.${name}`, [HIDDEN, HIDDEN]])),
    ),
    ...linears({ [`${at}intermediate.dense`]: [WIDE, HIDDEN], [`${at}output.dense`]: [HIDDEN, WIDE] }),
    ...norms(HIDDEN, `${at}attention.LayerNorm`, `${at}output.LayerNorm`),
  });
  return {
    'mpnet.embeddings.word_embeddings.weight': [24, HIDDEN],
    'mpnet.embeddings.position_embeddings.weight': [64, HIDDEN],
    ...norms(HIDDEN, 'mpnet.embeddings.LayerNorm'),
    ...layer('mpnet.encoder.layer.0.'),
    ...layer('mpnet.encoder.layer.1.'),
    'mpnet.encoder.relative_attention_bias.weight': [32, 2],
    ...linears({ 'classifier.dense': [HIDDEN, HIDDEN], 'classifier.out_proj': [LABELS, HIDDEN] }),
  };
}

const NARROW = 4;

/** Config of an ALBERT with two layers of one set of weights. */
export const ALBERT: Config = {
  ...COMMON,
  model_type: 'albert',
  architectures: ['AlbertForSequenceClassification'],
  embedding_size: NARROW,
  type_vocab_size: 2,
  pad_token_id: 0,
};

/** Shapes of the weights of `ALBERT`, with that many sets of a layer's weights. */
export function albertShapes(groups = 1, inner = 1): Shapes {
  const layer = (at: string): Shapes => ({
    ...linears(
      Object.fromEntries(
        ['query', 'key', 'value', 'dense'].map((name) => [`${at}attention.${name}`, [HIDDEN, HIDDEN]]),
      ),
    ),
    ...linears({ [`${at}ffn`]: [WIDE, HIDDEN], [`${at}ffn_output`]: [HIDDEN, WIDE] }),
    ...norms(HIDDEN, `${at}attention.LayerNorm`, `${at}full_layer_layer_norm`),
  });
  const names = Array.from({ length: groups }, (_, g) =>
    Array.from({ length: inner }, (_, k) => `albert.encoder.albert_layer_groups.${g}.albert_layers.${k}.`),
  ).flat();
  return {
    'albert.embeddings.word_embeddings.weight': [24, NARROW],
    'albert.embeddings.token_type_embeddings.weight': [2, NARROW],
    'albert.embeddings.position_embeddings.weight': [64, NARROW],
    ...norms(NARROW, 'albert.embeddings.LayerNorm'),
    ...linears({ 'albert.encoder.embedding_hidden_mapping_in': [HIDDEN, NARROW], 'albert.pooler': [HIDDEN, HIDDEN] }),
    ...Object.assign({}, ...names.map(layer)),
    ...linears({ classifier: [LABELS, HIDDEN] }),
  };
}

/** Writes config.json and weights: `model.safetensors`, or that many shards with an index. */
export async function writeCheckpoint(folder: string, config: Config, weights: Weights, shards = 1): Promise<string> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  if (shards === 1) await writeSafetensors(join(folder, 'model.safetensors'), weights);
  else await writeShards(folder, weights, shards);
  return folder;
}

async function writeShards(folder: string, weights: Weights, shards: number): Promise<void> {
  const names = [...weights.keys()];
  const fileOf = (i: number) => `model-${i % shards}.safetensors`;
  for (let shard = 0; shard < shards; shard++) {
    const mine = names.filter((_, i) => i % shards === shard);
    await writeSafetensors(join(folder, fileOf(shard)), new Map(mine.map((name) => [name, weights.get(name)!])));
  }
  const map = Object.fromEntries(names.map((name, i) => [name, fileOf(i)]));
  await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: map }));
}

/** Scores rows of ids; feeds only inputs the model has. The mask follows from the padding id, the token type from an id's parity. */
export async function scoreRows(
  model: Model,
  rows: readonly (readonly number[])[],
  paddingId: number,
): Promise<readonly number[]> {
  const dims = [rows.length, rows[0]!.length];
  const row = (value: (id: number) => number) => tensor('int64', dims, rows.flat().map(value));
  const feeds = {
    input_ids: row((id) => id),
    attention_mask: row((id) => (id === paddingId ? 0 : 1)),
    token_type_ids: row((id) => id % 2),
  };
  const inputs = model.graph.inputs.map(({ name }) => name);
  const runner = await openRunner(model, { level: 'all' });
  const { logits } = await runner.run(
    Object.fromEntries(Object.entries(feeds).filter(([name]) => inputs.includes(name))),
  );
  await runner.close();
  return numbers(logits!);
}
