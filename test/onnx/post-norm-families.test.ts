import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkGradients } from '../../src/autodiff/check-gradients.ts';
import { insertDropout } from '../../src/autodiff/dropout/insert.ts';
import { ratesOf } from '../../src/autodiff/dropout/rates.ts';
import { fromSafetensors } from '../../src/onnx/architectures/architectures.ts';
import type { Model } from '../../src/onnx/graph.ts';
import { prepare } from '../../src/onnx/prepare.ts';
import { narrowModel } from '../../src/onnx/rewrites/narrow.ts';
import { float32, numbers } from '../../src/onnx/tensor.ts';
import {
  ALBERT,
  albertShapes,
  type Config,
  MPNET,
  mpnetShapes,
  randomWeights,
  scoreRows,
  type Weights,
  writeCheckpoint,
} from '../support/tiny-checkpoint.ts';

let root = '';
let count = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'families-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const build = async (config: Config, weights: Weights) =>
  fromSafetensors(await writeCheckpoint(join(root, `m${++count}`), config, weights));

/** Scores rows of ids; 1 is padding. */
const score = (model: Model, rows: readonly (readonly number[])[]) => scoreRows(model, rows, 1);

const ROW = [2, 7, 3, 9, 11, 4, 20, 3];
const PADDING = new Array<number>(22).fill(1);
const RATES = { hidden_dropout_prob: 0.1, attention_probs_dropout_prob: 0.1 };

async function checkTrained(config: Config, weights: Weights) {
  const { model, weights: found } = await prepare(await build(config, weights));
  expect(found.map((w) => w.tensor).sort()).toEqual([...weights.keys()].sort());
  const narrow = await narrowModel(model);
  const report = await checkGradients(narrow, found);
  expect(report.unreached).toEqual([]);
  expect(report.weights[0]!.ratio).toBeLessThan(0.2);
  const { parts } = await insertDropout(narrow, found, ratesOf({ ...config, ...RATES, classifier_dropout_prob: 0.1 }));
  return parts.map(({ name }) => name);
}

describe('MPNet from weights', () => {
  it('gives a row the same score alone and padded', async () => {
    const model = await build(MPNET, randomWeights(mpnetShapes()));
    const [alone] = await score(model, [ROW]);
    const [right] = await score(model, [[...ROW, ...PADDING]]);
    expect(Math.abs(right! - alone!)).toBeLessThan(1e-5);
  });

  it('differentiates, the table of distances too, and has every place of dropout', async () => {
    const layers = [0, 1].flatMap((i) => ['attention', 'attention.output', 'mlp'].map((part) => `layer.${i}.${part}`));
    const places = ['embeddings', ...layers, 'dense', 'classifier'];
    expect(await checkTrained(MPNET, randomWeights(mpnetShapes()))).toEqual(places);
  });

  it('counts distances in buckets: one each to 7, then two for each doubling, up to 15; keys behind from 16', async () => {
    const { graph } = await build(MPNET, randomWeights(mpnetShapes()));
    const buckets = numbers(graph.initializers.get('buckets')!);
    expect(buckets.length).toBe(257);
    for (const [i, bucket] of buckets.entries()) {
      const far = Math.abs(i - 128);
      // 2 · log2(far / 8) ≥ k, in whole numbers.
      const steps = Array.from({ length: 7 }, (_, k) => k + 1).filter((k) => far * far >= 64 * 2 ** k).length;
      expect(bucket, `offset ${i - 128}`).toBe((i > 128 ? 16 : 0) + (far < 8 ? far : 8 + steps));
    }
  });

  it('sees the order of two tokens through the table alone', async () => {
    const weights = randomWeights(mpnetShapes());
    weights.set('mpnet.embeddings.position_embeddings.weight', float32([64, 8], new Float32Array(512)));
    const [a, b] = await score(await build(MPNET, weights), [
      [2, 7, 9, 3],
      [2, 9, 7, 3],
    ]);
    expect(Math.abs(a! - b!)).toBeGreaterThan(1e-4);
  });

  it('counts positions from 2 whatever config.json calls padding, and refuses a table that is too short', async () => {
    const standard = await score(await build(MPNET, randomWeights(mpnetShapes())), [ROW]);
    const other = await build({ ...MPNET, pad_token_id: 0 }, randomWeights(mpnetShapes()));
    expect(await score(other, [ROW])).toEqual(standard);
    const short = { ...MPNET, relative_attention_num_buckets: 16 };
    await expect(build(short, randomWeights(mpnetShapes()))).rejects.toThrow(
      /relative_attention_num_buckets: expected 32 or more, got 16/,
    );
  });
});

describe('ALBERT from weights', () => {
  it('gives a row the same score alone and padded', async () => {
    const model = await build(ALBERT, randomWeights(albertShapes()));
    const [alone] = await score(model, [ROW]);
    expect(Math.abs((await score(model, [[...ROW, ...PADDING]]))[0]! - alone!)).toBeLessThan(1e-5);
  });

  it('differentiates weights that layers share, and drops nothing after the feed-forward part', async () => {
    const layers = [0, 1].flatMap((i) => [`layer.${i}.attention`, `layer.${i}.attention.output`]);
    expect(await checkTrained(ALBERT, randomWeights(albertShapes()))).toEqual(['embeddings', ...layers, 'classifier']);
  });

  it('shares weights in groups, and runs the inner layers of a group in turn', async () => {
    const grouped = { ...ALBERT, num_hidden_layers: 4, num_hidden_groups: 2, inner_group_num: 2 };
    const weights = randomWeights(albertShapes(2, 2));
    const { graph } = await build(grouped, weights);
    const use = (name: string) => graph.nodes.filter(({ inputs }) => inputs.includes(name)).length;
    for (const at of ['0.albert_layers.0', '0.albert_layers.1', '1.albert_layers.0', '1.albert_layers.1'])
      expect(use(`albert.encoder.albert_layer_groups.${at}.ffn.weight`), at).toBe(2);
    await expect(build({ ...grouped, num_hidden_groups: 1 }, weights)).rejects.toThrow(
      /only tensors of the model that config.json describes, got albert.encoder.albert_layer_groups.1/,
    );
    await expect(build({ ...grouped, num_hidden_groups: 5 }, weights)).rejects.toThrow(
      /num_hidden_groups: expected at most 4, one a layer, got 5/,
    );
  });

  it('projects embeddings that are as wide as the layers too', async () => {
    const shapes = Object.fromEntries(
      Object.entries(albertShapes()).map(([name, dims]) => [name, dims.map((d) => (d === 4 ? 8 : d))]),
    );
    const { graph } = await build({ ...ALBERT, embedding_size: 8 }, randomWeights(shapes));
    expect(graph.initializers.has('albert.encoder.embedding_hidden_mapping_in.weight')).toBe(true);
  });
});

describe('a config.json that asks for more than any model has', () => {
  it.each<[string, Config, () => Weights, RegExp]>([
    [
      'layers',
      { ...MPNET, num_hidden_layers: 1e9 },
      () => randomWeights(mpnetShapes()),
      /num_hidden_layers: .* most 1000/,
    ],
    [
      'shared layers',
      { ...ALBERT, num_hidden_layers: 1e9 },
      () => randomWeights(albertShapes()),
      /num_hidden_layers: .* most/,
    ],
    [
      'inner layers',
      { ...ALBERT, inner_group_num: 501 },
      () => randomWeights(albertShapes()),
      /inner_group_num: .* most 500/,
    ],
  ])('is refused: %s', async (_, config, weights, message) => {
    await expect(build(config, weights())).rejects.toThrow(message);
  });
});

describe('settings that would change the scores of any encoder', () => {
  it.each<[string, Config, RegExp]>([
    ['a decoder', { is_decoder: true }, /config\.json: is_decoder: expected false, as of an encoder, got true/],
    ['attention to another model', { add_cross_attention: true }, /add_cross_attention: expected false/],
    ['pruned heads', { pruned_heads: { 0: [1] } }, /pruned_heads: expected no heads .* got \{"0":\[1\]\}/],
    ['quantized weights', { quantization_config: { bits: 4 } }, /quantization_config: expected weights in float32/],
    [
      'scaled rotary positions',
      { rope_scaling: { type: 'linear', factor: 2 } },
      /rope_scaling: type: expected default/,
    ],
    ['relative positions', { position_embedding_type: 'relative_key' }, /position_embedding_type: expected absolute/],
  ])('refuses %s', async (_, config, message) => {
    await expect(build({ ...MPNET, ...config }, randomWeights(mpnetShapes()))).rejects.toThrow(message);
  });

  it('takes them where they hold nothing', async () => {
    const empty = {
      is_decoder: false,
      pruned_heads: {},
      quantization_config: null,
      rope_scaling: { rope_type: 'default' },
    };
    await build({ ...MPNET, ...empty }, randomWeights(mpnetShapes()));
  });
});
