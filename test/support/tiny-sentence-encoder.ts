import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { float32, sizeOf, type Tensor } from '../../src/onnx/tensor.ts';
import { createRandom } from '../../src/util/random.ts';
import { writeCheckpoint } from './tiny-checkpoint.ts';
import { writeTinyModel } from './tiny-model.ts';

const HIDDEN = 16;
const WIDE = 24;

/** Config of a BERT with three layers that knows the words of `writeTinyModel`. */
export const TINY_BERT = {
  model_type: 'bert',
  architectures: ['BertModel'],
  vocab_size: 45,
  hidden_size: HIDDEN,
  num_attention_heads: 2,
  intermediate_size: WIDE,
  num_hidden_layers: 3,
  max_position_embeddings: 64,
  type_vocab_size: 2,
  hidden_act: 'gelu',
  layer_norm_eps: 1e-12,
  pad_token_id: 0,
} as const;

function shapesOf(): Record<string, readonly number[]> {
  const linear = (name: string, to: number, from: number) => ({
    [`${name}.weight`]: [to, from],
    [`${name}.bias`]: [to],
  });
  const norm = (name: string) => ({ [`${name}.weight`]: [HIDDEN], [`${name}.bias`]: [HIDDEN] });
  const layer = (at: string) => ({
    ...linear(`${at}attention.self.query`, HIDDEN, HIDDEN),
    ...linear(`${at}attention.self.key`, HIDDEN, HIDDEN),
    ...linear(`${at}attention.self.value`, HIDDEN, HIDDEN),
    ...linear(`${at}attention.output.dense`, HIDDEN, HIDDEN),
    ...norm(`${at}attention.output.LayerNorm`),
    ...linear(`${at}intermediate.dense`, WIDE, HIDDEN),
    ...linear(`${at}output.dense`, HIDDEN, WIDE),
    ...norm(`${at}output.LayerNorm`),
  });
  return {
    'embeddings.word_embeddings.weight': [TINY_BERT.vocab_size, HIDDEN],
    'embeddings.position_embeddings.weight': [TINY_BERT.max_position_embeddings, HIDDEN],
    'embeddings.token_type_embeddings.weight': [2, HIDDEN],
    ...norm('embeddings.LayerNorm'),
    ...layer('encoder.layer.0.'),
    ...layer('encoder.layer.1.'),
    ...layer('encoder.layer.2.'),
  };
}

/** Random weights of `TINY_BERT`. */
export function tinyBertWeights(seed = 5): Map<string, Tensor> {
  const random = createRandom(seed);
  return new Map(
    Object.entries(shapesOf()).map(([name, dims]) => {
      const shift = name.endsWith('LayerNorm.weight') ? 1 : 0;
      const scale = name.includes('LayerNorm') ? 0.1 : 0.4;
      const values = Float32Array.from({ length: sizeOf(dims) }, () => shift + scale * random.normal());
      return [name, float32(dims, values)] as const;
    }),
  );
}

/** Writes a sentence encoder in the layout of sentence-transformers: weights of `TINY_BERT`, the tiny model's tokenizer, mean pooling. */
export async function writeTinySentenceEncoder(folder: string): Promise<string> {
  await writeTinyModel(join(folder, '..', 'tiny-words'));
  mkdirSync(join(folder, '1_Pooling'), { recursive: true });
  await writeCheckpoint(folder, TINY_BERT, tinyBertWeights());
  for (const file of ['tokenizer.json', 'tokenizer_config.json'])
    copyFileSync(join(folder, '..', 'tiny-words', file), join(folder, file));
  const type = (name: string) => `sentence_transformers.models.${name}`;
  writeFileSync(
    join(folder, 'modules.json'),
    JSON.stringify([
      { idx: 0, name: '0', path: '', type: type('Transformer') },
      { idx: 1, name: '1', path: '1_Pooling', type: type('Pooling') },
    ]),
  );
  writeFileSync(
    join(folder, '1_Pooling', 'config.json'),
    JSON.stringify({ word_embedding_dimension: HIDDEN, pooling_mode_mean_tokens: true }),
  );
  return folder;
}
