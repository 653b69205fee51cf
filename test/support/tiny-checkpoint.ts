import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DataType } from '../../src/onnx/dtypes.ts';
import { writeSafetensors } from '../../src/onnx/safetensors.ts';
import { castTensor, float32, sizeOf, type Tensor } from '../../src/onnx/tensor.ts';
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
  const random = createRandom(11);
  return new Map(
    Object.entries(shapesOf(2, vocabulary)).map(([name, dims]) => {
      const values = Float32Array.from({ length: sizeOf(dims) }, () => 0.5 * random.normal());
      return [name, castTensor(float32(dims, values), dtype)];
    }),
  );
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
