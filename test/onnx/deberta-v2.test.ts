import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkGradients } from '../../src/autodiff/check-gradients.ts';
import { insertDropout } from '../../src/autodiff/dropout/insert.ts';
import { ratesOf } from '../../src/autodiff/dropout/rates.ts';
import { fromSafetensors } from '../../src/onnx/architectures/architectures.ts';
import { prepare } from '../../src/onnx/prepare.ts';
import { probeShapes } from '../../src/onnx/probe.ts';
import { halveModel } from '../../src/onnx/rewrites/fp16.ts';
import { narrowModel } from '../../src/onnx/rewrites/narrow.ts';
import { type Config, randomWeights, scoreRows, writeCheckpoint } from '../support/tiny-checkpoint.ts';

/* Scores of every switch are compared with PyTorch's in encoder-goldens.test.ts; these cases come from the same file. */

interface Case {
  readonly name: string;
  readonly config: Config;
  readonly tensors: Readonly<Record<string, readonly number[]>>;
}

const cases = readFileSync(join(import.meta.dirname, 'encoder-goldens.jsonl'), 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line) as Case);
const caseOf = (name: string): Case => cases.find((c) => c.name === name)!;

let root = '';
let count = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'deberta-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const build = async ({ config, tensors }: Case, changed: Config = {}) =>
  fromSafetensors(await writeCheckpoint(join(root, `m${++count}`), { ...config, ...changed }, randomWeights(tensors)));

const V3 = caseOf('deberta-v3');
const CONVOLVED = caseOf('deberta-v2-xlarge: a convolution');
const ROW = [2, 7, 3, 9, 11, 4, 20, 3];
const PADDING = new Array<number>(22).fill(0);

describe('DeBERTa-v2 from weights', () => {
  it.each([V3, CONVOLVED])('gives a row the same score alone and padded: $name', async (tiny) => {
    const model = await build(tiny);
    const [alone] = await scoreRows(model, [ROW], 0);
    const long = Array.from({ length: 30 }, (_, i) => 1 + ((5 * i) % 23));
    const [padded] = await scoreRows(model, [[...ROW, ...PADDING], long], 0);
    expect(Math.abs(padded! - alone!)).toBeLessThan(1e-5);
  });

  it.each(['deberta-v3', 'deberta-v2-xlarge: a convolution', 'deberta-v2 with projections for distances'])(
    'differentiates: every weight of %s passes the gradient check',
    async (name) => {
      const tiny = caseOf(name);
      const { model, weights } = await prepare(await build(tiny));
      expect(weights.map((w) => w.tensor).sort()).toEqual(Object.keys(tiny.tensors).sort());
      const report = await checkGradients(await narrowModel(model), weights);
      expect(report.unreached).toEqual([]);
      expect(report.weights[0]!.ratio).toBeLessThan(0.2);
    },
  );

  it('has every place of dropout, that of distances once a layer', async () => {
    const rates = { hidden_dropout_prob: 0.1, attention_probs_dropout_prob: 0.1, pooler_dropout: 0.1 };
    for (const tiny of [V3, CONVOLVED]) {
      const { model, weights } = await prepare(await build(tiny));
      const { parts } = await insertDropout(await narrowModel(model), weights, ratesOf({ ...tiny.config, ...rates }));
      const places = ['attention', 'attention.output', 'mlp', 'position'];
      const layers = [0, 1].flatMap((i) => places.map((place) => `layer.${i}.${place}`));
      const conv = tiny === CONVOLVED ? ['layer.0.convolution'] : [];
      expect(parts.map((p) => p.name).sort()).toEqual(['classifier', 'dense', 'embeddings', ...layers, ...conv].sort());
    }
  });

  it('narrows to the first token with the same score', async () => {
    const { model } = await prepare(await build(V3));
    const narrow = await narrowModel(model);
    const [whole, less] = [await scoreRows(model, [ROW], 0), await scoreRows(narrow, [ROW], 0)];
    expect(Math.abs(whole[0]! - less[0]!)).toBeLessThan(1e-5);
    expect(narrow).not.toBe(model);
  });

  it('runs in half precision as it is served, with all optimizations', async () => {
    const { model } = await prepare(await build(V3));
    const half = halveModel(model, await probeShapes(model));
    const [whole, less] = [await scoreRows(model, [ROW], 0), await scoreRows(half, [ROW], 0)];
    expect(Math.abs(whole[0]! - less[0]!)).toBeLessThan(0.01);
  });

  it.each<[string, Config, RegExp]>([
    ['an unknown source of distances', { pos_att_type: 'c2p|p2p' }, /pos_att_type: expected c2p, p2c or both, got p2p/],
    ['one bucket', { position_buckets: 1 }, /position_buckets: expected 2 or more, got 1/],
    ['half a bucket', { position_buckets: 2.5 }, /position_buckets: expected an integer of at least -1, got 2\.5/],
    [
      'buckets wider than the distances',
      { position_buckets: 8, max_relative_positions: 5 },
      /max_relative_positions: expected more than 5/,
    ],
    ['more buckets than embeddings', { position_buckets: 6 }, /shape \[12, 12\] .*rel_embeddings\.weight/],
    [
      'positions beyond any model',
      { max_position_embeddings: 2e9 },
      /max_position_embeddings: expected at most 100000, got 2000000000/,
    ],
    ['buckets beyond any model', { position_buckets: 2e9 }, /position_buckets: expected at most 100000/],
    ['layers beyond any model', { num_hidden_layers: 1e9 }, /num_hidden_layers: expected at most 1000, got 1000000000/],
    ['heads of another size', { attention_head_size: 8 }, /attention_head_size: expected 4, .* got 8/],
    ['another width of the pooler', { pooler_hidden_size: 20 }, /pooler_hidden_size: expected 12, .* got 20/],
    ['heads that do not divide', { num_attention_heads: 5 }, /num_attention_heads: expected a divisor/],
    [
      'a convolution that is not there',
      { conv_kernel_size: 3 },
      /expected a tensor deberta\.encoder\.conv\.conv\.weight/,
    ],
    ['types that are not there', { type_vocab_size: 2 }, /expected a tensor .*token_type_embeddings\.weight/],
  ])('refuses %s', async (_, config, message) => {
    await expect(build(V3, config)).rejects.toThrow(message);
  });

  it.each<[string, Config, RegExp]>([
    ['more neighbors than any model', { conv_kernel_size: 1e9 + 1 }, /conv_kernel_size: expected at most 99/],
    ['groups', { conv_groups: 3 }, /conv_groups: expected 1, got 3/],
    ['an even width', { conv_kernel_size: 4 }, /conv_kernel_size: expected an odd number, got 4/],
    ['an unknown activation', { conv_act: 'prelu' }, /conv_act: expected one of gelu, .* got "prelu"/],
    ['no width', { conv_kernel_size: 0 }, /only tensors of the model .* got deberta\.encoder\.conv/],
  ])('refuses a convolution with %s', async (_, config, message) => {
    await expect(build(CONVOLVED, config)).rejects.toThrow(message);
  });
});
