import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeSafetensors } from '../../src/onnx/safetensors.ts';
import { float32, sizeOf, type Tensor } from '../../src/onnx/tensor.ts';
import { createRandom } from '../../src/util/random.ts';
import { VOCABULARY, writeTinyTokenizer } from './tiny-model.ts';

/*
 * Interaction models small enough to be computed in plain loops: a BERT of four layers with the tokenizer of the synthetic language.
 */

export const TINY = { hidden: 16, heads: 2, layers: 4, wide: 24, epsilon: 1e-12 } as const;

/** The field `interaction` of config.json. */
export interface TinyForm {
  readonly form: 'cosine' | 'first';
  readonly top: number;
  readonly states: number;
  readonly bottom?: number;
  readonly pooling?: 'mean' | 'cls';
  readonly queryPrefix?: string;
  readonly passagePrefix?: string;
  /** Another hidden size than `TINY.hidden`. */
  readonly hidden?: number;
}

const linear = (name: string, to: number, from: number) => ({ [`${name}.weight`]: [to, from], [`${name}.bias`]: [to] });
const norm = (name: string, hidden: number) => ({ [`${name}.weight`]: [hidden], [`${name}.bias`]: [hidden] });

function encoderShapes({ hidden = TINY.hidden }: TinyForm): Record<string, number[]> {
  const { wide, layers } = TINY;
  const layer = (at: string) => ({
    ...linear(`${at}attention.self.query`, hidden, hidden),
    ...linear(`${at}attention.self.key`, hidden, hidden),
    ...linear(`${at}attention.self.value`, hidden, hidden),
    ...linear(`${at}attention.output.dense`, hidden, hidden),
    ...norm(`${at}attention.output.LayerNorm`, hidden),
    ...linear(`${at}intermediate.dense`, wide, hidden),
    ...linear(`${at}output.dense`, hidden, wide),
    ...norm(`${at}output.LayerNorm`, hidden),
  });
  return {
    'embeddings.word_embeddings.weight': [VOCABULARY, hidden],
    'embeddings.position_embeddings.weight': [64, hidden],
    'embeddings.token_type_embeddings.weight': [2, hidden],
    ...norm('embeddings.LayerNorm', hidden),
    ...Object.assign({}, ...Array.from({ length: layers }, (_, i) => layer(`encoder.layer.${i}.`))),
  };
}

function topShapes({ form, top, hidden = TINY.hidden }: TinyForm): Record<string, number[]> {
  const cross = (i: number) =>
    Object.assign(
      {},
      ...['query', 'key', 'value', 'output'].map((name) => linear(`interaction.${i}.cross.${name}`, hidden, hidden)),
      form === 'cosine' ? { [`interaction.${i}.gate`]: [hidden] } : norm(`interaction.${i}.norm`, hidden),
    );
  const ends =
    form === 'cosine'
      ? {
          'interaction.scale': [],
          ...linear('interaction.head.0', 8, 2 * hidden),
          ...linear('interaction.head.1', 1, 8),
        }
      : { ...linear('interaction.pooler', hidden, hidden), ...linear('interaction.classifier', 1, hidden) };
  return { ...Object.assign({}, ...Array.from({ length: top }, (_, i) => cross(i))), ...ends };
}

/** Makes random weights: normalizations near 1, others normal. */
export function tinyWeights(form: TinyForm): Map<string, Tensor> {
  const random = createRandom(17);
  return new Map(
    Object.entries({ ...encoderShapes(form), ...topShapes(form) }).map(([name, dims]) => {
      const isNorm = /(LayerNorm|norm)\.weight$/.test(name);
      const values = Float32Array.from({ length: sizeOf(dims) }, () => (isNorm ? 1 : 0) + 0.3 * random.normal());
      return [name, float32(dims, values)] as const;
    }),
  );
}

/** Sets a tensor to zeros: a closed gate, a head that adds nothing. */
export function close(weights: Map<string, Tensor>, name: RegExp): void {
  for (const [key, { dims }] of weights)
    if (name.test(key)) weights.set(key, float32(dims, new Float32Array(sizeOf(dims))));
}

export const tinyConfig = ({ hidden = TINY.hidden, ...form }: TinyForm): Record<string, unknown> => ({
  model_type: 'bert',
  architectures: ['BertModel'],
  vocab_size: VOCABULARY,
  hidden_size: hidden,
  num_hidden_layers: TINY.layers,
  num_attention_heads: TINY.heads,
  intermediate_size: TINY.wide,
  max_position_embeddings: 64,
  type_vocab_size: 2,
  layer_norm_eps: TINY.epsilon,
  pad_token_id: 0,
  interaction: form,
});

/** Writes config.json, tokenizer and weights. */
export async function writeTinyInteraction(
  folder: string,
  form: TinyForm,
  weights = tinyWeights(form),
): Promise<string> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config.json'), JSON.stringify(tinyConfig(form)));
  writeTinyTokenizer(folder);
  await writeSafetensors(join(folder, 'model.safetensors'), weights);
  return folder;
}
