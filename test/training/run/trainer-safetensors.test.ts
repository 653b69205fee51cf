import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { writeSafetensors } from '../../../src/onnx/safetensors.ts';
import { float32 } from '../../../src/onnx/tensor.ts';
import { findBackbone } from '../../../src/training/recipe/backbone-folder.ts';
import { parseRecipe } from '../../../src/training/recipe/recipe.ts';
import { train } from '../../../src/training/run/trainer.ts';
import { createRandom } from '../../../src/util/random.ts';
import { openHubServer } from '../../support/hub-server.ts';
import { tinyData, writeTinyModel } from '../../support/tiny-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-safetensors-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const HIDDEN = 16;

/** Writes a BERT of one layer without a head, published without an ONNX file. */
async function writeBert(): Promise<void> {
  const source = await writeTinyModel(join(folder, 'tiny'));
  const target = join(folder, 'bert');
  mkdirSync(target);
  for (const file of ['tokenizer.json', 'tokenizer_config.json']) copyFileSync(join(source, file), join(target, file));
  const config = {
    model_type: 'bert',
    hidden_size: HIDDEN,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    intermediate_size: 2 * HIDDEN,
    hidden_act: 'gelu',
    vocab_size: 45,
    type_vocab_size: 2,
    max_position_embeddings: 32,
    layer_norm_eps: 1e-12,
    pad_token_id: 0,
  };
  writeFileSync(join(target, 'config.json'), JSON.stringify(config));
  const random = createRandom(2);
  const tensor = (dims: readonly number[], fill = () => 0.2 * random.normal()) =>
    float32(dims, Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, fill));
  const layer = 'encoder.layer.0';
  const linear = (name: string, from: number, to: number) =>
    [
      [`${name}.weight`, tensor([to, from])],
      [`${name}.bias`, tensor([to], () => 0)],
    ] as const;
  const norm = (name: string) =>
    [
      [`${name}.weight`, tensor([HIDDEN], () => 1)],
      [`${name}.bias`, tensor([HIDDEN], () => 0)],
    ] as const;
  const table = (name: string, rows: number) => [`embeddings.${name}.weight`, tensor([rows, HIDDEN])] as const;
  await writeSafetensors(
    join(target, 'model.safetensors'),
    new Map([
      table('word_embeddings', 45),
      table('position_embeddings', 32),
      table('token_type_embeddings', 2),
      ...norm('embeddings.LayerNorm'),
      ...['query', 'key', 'value'].flatMap((part) => linear(`${layer}.attention.self.${part}`, HIDDEN, HIDDEN)),
      ...linear(`${layer}.attention.output.dense`, HIDDEN, HIDDEN),
      ...norm(`${layer}.attention.output.LayerNorm`),
      ...linear(`${layer}.intermediate.dense`, HIDDEN, 2 * HIDDEN),
      ...linear(`${layer}.output.dense`, 2 * HIDDEN, HIDDEN),
      ...norm(`${layer}.output.LayerNorm`),
    ]),
  );
}

const recipeOf = (backbone: string) => ({
  name: 'bert',
  backbone,
  objective: 'InfoNCE',
  data: { train: [{ format: 'jsonl', path: 'lists.jsonl' }], sampler: { negatives: 5 } },
  batch: { queries: 8, bucketBatches: 2 },
  steps: 400,
  maxLength: 16,
  optimizer: { learningRate: 0.005 },
  dropout: 'off',
  threads: 1,
});

describe('a backbone of model.safetensors alone', () => {
  it('gets a head and learns', async () => {
    await writeBert();
    tinyData(join(folder, 'lists.jsonl'), 200);
    const recipe = parseRecipe(recipeOf('bert'), 'test');
    const losses: number[] = [];
    await train({ recipe, folder, source: '' }, join(folder, 'run'), { onStep: (s) => losses.push(s.loss) });
    const mean = (x: readonly number[]) => x.reduce((a, b) => a + b, 0) / x.length;
    expect(mean(losses.slice(-15))).toBeLessThan(0.9 * mean(losses.slice(0, 15)));
  });
});

describe('a backbone of the hub', () => {
  it('is loaded into the cache and gives the curve that its folder gives', async () => {
    const server = await openHubServer(folder);
    onTestFinished(() => server.close());
    vi.stubEnv('HF_ENDPOINT', server.url);
    vi.stubEnv('HF_HOME', join(folder, 'hf'));
    onTestFinished(() => {
      vi.unstubAllEnvs();
    });
    const losses = async (backbone: string) => {
      const found: number[] = [];
      const short = { ...recipeOf(backbone), steps: 3 };
      await train(
        { recipe: parseRecipe(short, 'test'), folder, source: '' },
        join(folder, `run-${found.length}-${backbone.length}`),
        {
          onStep: (s) => found.push(s.loss),
        },
      );
      return found;
    };
    const local = await losses('bert');
    expect(await losses('acme/bert@v1')).toEqual(local);
    server.requests.length = 0;
    expect(await findBackbone('acme/bert@v1', folder)).toMatch(new RegExp(`snapshots/${server.commit}$`));
    expect(server.requests).toEqual([]);
    await expect(findBackbone('acme/bert@v9', folder)).rejects.toThrow(/a branch, tag or commit of acme\/bert/);
    expect(await findBackbone('no-such-folder', folder)).toBe(join(folder, 'no-such-folder'));
  });
});
