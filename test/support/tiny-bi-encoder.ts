import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import { writeModel } from '../../src/onnx/model-file.ts';
import { float32 } from '../../src/onnx/tensor.ts';
import { createRandom } from '../../src/util/random.ts';
import { WORDS, writeTinyModel } from './tiny-model.ts';

const WIDTH = 16;
const HEADS = 2;
const FIVE_SPECIAL = 5;

/** One layer of a BERT with masked attention, and the states of its tokens as the output. */
export function tinyStates(output = 'last_hidden_state') {
  const random = createRandom(5);
  const g = new GraphBuilder('tiny');
  let count = 0;
  const weight = (dims: readonly number[], scale = 0.4) => {
    const size = dims.reduce((a, b) => a * b, 1);
    return g.initializer(
      `w${++count}`,
      float32(
        dims,
        Float32Array.from({ length: size }, () => scale * random.normal()),
      ),
    );
  };
  const ones = () => g.initializer(`w${++count}`, float32([WIDTH], new Float32Array(WIDTH).fill(1)));
  const linear = (x: string, from: number, to: number) => g.add(g.matmul(x, weight([from, to])), weight([to], 0.1));
  const norm = (x: string) =>
    g.op('LayerNormalization', [x, ones(), weight([WIDTH], 0.1)], { axis: -1, epsilon: 1e-6 });
  const ids = g.input('input_ids', 'int64', ['batch', 'sequence']);
  const mask = g.cast(g.input('attention_mask', 'int64', ['batch', 'sequence']), 'float32');
  const x = norm(g.gather(weight([FIVE_SPECIAL + WORDS.length, WIDTH], 1), ids));
  const heads = (perm: number[]) => g.transpose(g.reshape(linear(x, WIDTH, WIDTH), [0, 0, HEADS, WIDTH / HEADS]), perm);
  const hidden = g.unsqueeze(g.mul(g.sub(mask, g.scalar(1)), g.scalar(1e4)), [1, 2]);
  const scores = g.mul(g.matmul(heads([0, 2, 1, 3]), heads([0, 2, 3, 1])), g.scalar((WIDTH / HEADS) ** -0.5));
  const mixed = g.matmul(g.softmax(g.add(scores, hidden)), heads([0, 2, 1, 3]));
  const joined = g.reshape(g.transpose(mixed, [0, 2, 1, 3]), [0, 0, WIDTH]);
  const middle = norm(g.add(linear(joined, WIDTH, WIDTH), x));
  const wide = g.op('Gelu', [linear(middle, WIDTH, 2 * WIDTH)]);
  g.output(norm(g.add(linear(wide, 2 * WIDTH, WIDTH), middle)), 'float32', ['batch', 'sequence', WIDTH], output);
  return modelOf(g.build());
}

interface TinyBiEncoder {
  /** Mode of the Pooling; without it the folder has no modules. */
  readonly pooling?: string;
  /** `config_sentence_transformers.json`. */
  readonly settings?: Readonly<Record<string, unknown>>;
}

/** Writes a bi-encoder's folder: of sentence-transformers, or with an encoder alone. */
export async function writeTinyBiEncoder(folder: string, { pooling, settings }: TinyBiEncoder = {}): Promise<string> {
  await writeTinyModel(folder);
  await writeModel(join(folder, 'onnx/model.onnx'), tinyStates());
  writeFileSync(
    join(folder, 'config.json'),
    JSON.stringify({ model_type: 'bert', hidden_size: WIDTH, max_position_embeddings: 64 }),
  );
  if (settings) writeFileSync(join(folder, 'config_sentence_transformers.json'), JSON.stringify(settings));
  if (pooling === undefined) return folder;
  const module = (path: string, type: string) => ({ path, type: `sentence_transformers.models.${type}` });
  writeFileSync(
    join(folder, 'modules.json'),
    JSON.stringify([module('', 'Transformer'), module('1_Pooling', 'Pooling')]),
  );
  mkdirSync(join(folder, '1_Pooling'), { recursive: true });
  writeFileSync(
    join(folder, '1_Pooling/config.json'),
    JSON.stringify({ word_embedding_dimension: WIDTH, pooling_mode: pooling }),
  );
  return folder;
}
