/*
 * Makes the small encoder in `backbone/`, which the first run starts from:
 *
 *   npx node recipes/first-run/make-backbone.ts
 *
 * 1. Word vectors: what all-MiniLM-L6-v2 makes of each piece alone, in few dimensions, weighted by frequency (words.ts).
 * 2. An encoder of two layers around them that starts as the mean of these vectors.
 * 3. Training on parts of the passages, with the cosine of all-MiniLM-L6-v2 and BM25 as teacher (lists.ts). No question is used.
 *
 * Reads ../shared/backbones/all-minilm-l6-v2, beside the project. Takes some minutes on two cores.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { writeLines } from '../../src/evaluation/formats/write-lines.ts';
import { writeSafetensors } from '../../src/onnx/safetensors.ts';
import { float32, type Tensor, transposeTensor } from '../../src/onnx/tensor.ts';
import { parseRecipe } from '../../src/training/recipe/recipe.ts';
import { train } from '../../src/training/run/trainer.ts';
import { startProgress } from '../../src/util/progress.ts';
import { createRandom } from '../../src/util/random.ts';
import { makeLists } from './lists.ts';
import { makeWordTable } from './words.ts';

const HERE = import.meta.dirname;
const SOURCE = resolve(HERE, '../../../shared/backbones/all-minilm-l6-v2');
const DATA = join(HERE, 'data');
const OUT = join(HERE, 'backbone');

const PIECES = 6144;
const WIDTH = 64;
const WIDE = 128;
const LAYERS = 2;
const HEADS = 4;
const POSITIONS = 128;
/** Dimensions that give all vectors the same length; the last normalization drops them. */
const LEVELLING = 2;
const MEANING = WIDTH - LEVELLING;

const CONFIG = {
  architectures: ['BertModel'],
  model_type: 'bert',
  vocab_size: PIECES,
  hidden_size: WIDTH,
  num_hidden_layers: LAYERS,
  num_attention_heads: HEADS,
  intermediate_size: WIDE,
  hidden_act: 'gelu',
  hidden_dropout_prob: 0.1,
  attention_probs_dropout_prob: 0.1,
  layer_norm_eps: 1e-12,
  max_position_embeddings: POSITIONS,
  type_vocab_size: 2,
  pad_token_id: 0,
};

const textsIn = async (file: string): Promise<{ _id: string; text: string }[]> =>
  (await readFile(join(DATA, file), 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

/** Returns the passages, and the questions that are not held out. */
async function readTexts(): Promise<{ passages: string[]; questions: string[] }> {
  const judged = (await readFile(join(DATA, 'qrels/train.tsv'), 'utf8')).split('\n').map((line) => line.split('\t')[0]);
  const questions = (await textsIn('queries.jsonl')).filter(({ _id }) => judged.includes(_id));
  return {
    passages: (await textsIn('corpus.jsonl')).map(({ text }) => text),
    questions: questions.map(({ text }) => text),
  };
}

/**
 * Returns vectors of mean 0 and variance 1, which a LayerNorm leaves as they are: a pair of opposite numbers fills the length up. Words keep
 * the ratio of their lengths that way.
 */
function leveled(vectors: readonly (readonly number[])[]): number[][] {
  const lengths = vectors.map((vector) => Math.hypot(...vector));
  const scale = (0.98 * Math.sqrt(WIDTH)) / Math.max(...lengths);
  return vectors.map((vector, i) => {
    const fill = Math.sqrt((WIDTH - (scale * lengths[i]!) ** 2) / LEVELLING);
    return [...vector.map((x) => scale * x), fill, -fill];
  });
}

/** Returns the weights of an encoder whose layers add nothing yet: its states are the word vectors. */
function startingWeights(vectors: readonly (readonly number[])[]): Map<string, Tensor> {
  const random = createRandom(1);
  const weights = new Map<string, Tensor>();
  const zeros = (name: string, ...dims: number[]) =>
    weights.set(name, float32(dims, new Array(dims.reduce((a, b) => a * b)).fill(0)));
  const linear = (name: string, outputs: number, inputs: number, deviation: number) => {
    const values = Array.from({ length: outputs * inputs }, () => deviation * random.normal());
    weights.set(`${name}.weight`, float32([outputs, inputs], values));
    zeros(`${name}.bias`, outputs);
  };
  const norm = (name: string, levelling = 1) => {
    const scales = Array.from({ length: WIDTH }, (_, i) => (i < MEANING ? 1 : levelling));
    weights.set(`${name}.weight`, float32([WIDTH], scales));
    zeros(`${name}.bias`, WIDTH);
  };
  weights.set('embeddings.word_embeddings.weight', float32([PIECES, WIDTH], leveled(vectors).flat()));
  zeros('embeddings.position_embeddings.weight', POSITIONS, WIDTH);
  zeros('embeddings.token_type_embeddings.weight', 2, WIDTH);
  norm('embeddings.LayerNorm');
  const deviation = 1 / Math.sqrt(WIDTH);
  for (let layer = 0; layer < LAYERS; layer++) {
    const at = `encoder.layer.${layer}`;
    for (const part of ['query', 'key', 'value']) linear(`${at}.attention.self.${part}`, WIDTH, WIDTH, deviation);
    linear(`${at}.attention.output.dense`, WIDTH, WIDTH, 0);
    norm(`${at}.attention.output.LayerNorm`);
    linear(`${at}.intermediate.dense`, WIDE, WIDTH, deviation);
    linear(`${at}.output.dense`, WIDTH, WIDE, 0);
    norm(`${at}.output.LayerNorm`, layer === LAYERS - 1 ? 0 : 1);
  }
  return weights;
}

/** Trains the encoder in `folder` on lists; the last weights count, since nothing is held out. */
async function teach(folder: string): Promise<Map<string, Float32Array>> {
  const recipe = parseRecipe(
    {
      name: 'first-run-backbone',
      backbone: OUT,
      head: { pooling: 'pair', hidden: false },
      objective: {
        sum: [
          { objective: 'KLDivergence', weight: 1 },
          { objective: 'MarginMSE', weight: 0.05 },
        ],
      },
      data: { train: [{ format: 'jsonl', path: 'lists.jsonl' }], sampler: { negatives: 7 } },
      maxLength: 96,
      batch: { queries: 8 },
      steps: 1500,
      optimizer: { learningRate: 3e-3 },
      schedule: { warmup: 0.05 },
      dropout: 'off',
      seed: 1,
    },
    'make-backbone.ts',
  );
  const progress = startProgress('train', recipe.steps);
  const onStep = ({ step, loss }: { step: number; loss: number }) => progress.update(step, `loss ${loss.toFixed(4)}`);
  const { weights } = await train({ recipe, folder, source: '' }, join(folder, 'run'), { onStep });
  progress.stop();
  return new Map(weights);
}

/** Returns trained weights in the layout they had: the graph keeps linear ones transposed. */
function restored(name: string, { dims }: Tensor, values: Float32Array): Tensor {
  const transposed = dims.length === 2 && !name.startsWith('embeddings.');
  return transposed ? transposeTensor(float32(dims.toReversed(), values)) : float32(dims, values);
}

const { passages, questions } = await readTexts();
const { tokenizer, vectors } = await makeWordTable(SOURCE, [...passages, ...questions], {
  pieces: PIECES,
  dims: MEANING,
});
const start = startingWeights(vectors);
await mkdir(OUT, { recursive: true });
await writeFile(join(OUT, 'config.json'), `${JSON.stringify(CONFIG, null, 2)}\n`);
await writeFile(join(OUT, 'tokenizer.json'), `${JSON.stringify(tokenizer)}\n`);
await writeSafetensors(join(OUT, 'model.safetensors'), start);
const work = await mkdtemp(join(tmpdir(), 'winnow-first-run-'));
try {
  const lists = await makeLists(passages, SOURCE, work);
  await writeLines(
    join(work, 'lists.jsonl'),
    lists.map((row) => JSON.stringify(row)),
  );
  const trained = await teach(work);
  const weights = [...start].map(([name, was]) => [name, restored(name, was, trained.get(name)!)] as const);
  await writeSafetensors(join(OUT, 'model.safetensors'), new Map(weights));
} finally {
  await rm(work, { recursive: true, force: true });
}
