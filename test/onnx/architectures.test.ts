import { mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkGradients } from '../../src/autodiff/check-gradients.ts';
import { insertDropout } from '../../src/autodiff/dropout/insert.ts';
import { ratesOf } from '../../src/autodiff/dropout/rates.ts';
import { fromSafetensors, leftOutOf } from '../../src/onnx/architectures/architectures.ts';
import { Checkpoint, readSettings, readWeights } from '../../src/onnx/architectures/checkpoint.ts';
import { modernbert } from '../../src/onnx/architectures/modernbert.ts';
import type { Model } from '../../src/onnx/graph.ts';
import { prepare } from '../../src/onnx/prepare.ts';
import { narrowModel } from '../../src/onnx/rewrites/narrow.ts';
import { castTensor, float32 } from '../../src/onnx/tensor.ts';
import {
  type Config,
  MODERNBERT,
  modernbertWeights,
  scoreRows,
  type Weights,
  writeCheckpoint,
} from '../support/tiny-checkpoint.ts';

let root = '';
let count = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'architectures-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const fresh = () => join(root, `m${++count}`);
const write = (config: Config = {}, weights: Weights = modernbertWeights(), shards = 1) =>
  writeCheckpoint(fresh(), { ...MODERNBERT, ...config }, weights, shards);

/** Scores rows of ids; 0 is padding. */
const score = (model: Model, rows: readonly (readonly number[])[]) => scoreRows(model, rows, 0);

const ROW = [2, 7, 3, 9, 11, 4, 20, 3];
const far = (a: readonly number[], b: readonly number[]) => Math.max(...a.map((x, i) => Math.abs(x - b[i]!)));

describe('ModernBERT from weights', () => {
  it('gives a row the same score alone and beside a longer one, padded on either side', async () => {
    const model = await fromSafetensors(await write());
    const [alone] = await score(model, [ROW]);
    const long = Array.from({ length: 30 }, (_, i) => 1 + ((5 * i) % 23));
    const padding = new Array<number>(22).fill(0);
    const [right, , left] = await score(model, [[...ROW, ...padding], long, [...padding, ...ROW]]);
    expect(Math.abs(right! - alone!)).toBeLessThan(1e-5);
    expect(Math.abs(left! - alone!)).toBeLessThan(1e-5);
  });

  it('differentiates: every weight passes the gradient check', async () => {
    const { model, weights } = await prepare(await fromSafetensors(await write()));
    expect(weights.map((w) => w.tensor).sort()).toEqual([...modernbertWeights().keys()].sort());
    const report = await checkGradients(await narrowModel(model), weights);
    expect(report.unreached).toEqual([]);
    expect(report.weights[0]!.ratio).toBeLessThan(0.2);
  });

  it('has every place of dropout', async () => {
    const rates = { embedding_dropout: 0.1, attention_dropout: 0.1, mlp_dropout: 0.1, classifier_dropout: 0.1 };
    const { model, weights } = await prepare(await fromSafetensors(await write()));
    const { parts } = await insertDropout(await narrowModel(model), weights, ratesOf({ ...MODERNBERT, ...rates }));
    const layers = [0, 1].flatMap((i) => ['attention', 'attention.output', 'mlp'].map((part) => `layer.${i}.${part}`));
    expect(parts.map(({ name }) => name)).toEqual(['embeddings', ...layers, 'classifier']);
  });

  it('reads shards, and half precision as the numbers it holds', async () => {
    const expected = await score(await fromSafetensors(await write()), [ROW]);
    expect(await score(await fromSafetensors(await write({}, modernbertWeights(), 3)), [ROW])).toEqual(expected);
    for (const dtype of ['float16', 'bfloat16'] as const) {
      const half = modernbertWeights(dtype);
      const rounded = new Map([...half].map(([name, value]) => [name, castTensor(value, 'float32')]));
      const got = await score(await fromSafetensors(await write({}, half, 2)), [ROW]);
      expect(got).toEqual(await score(await fromSafetensors(await write({}, rounded)), [ROW]));
    }
  });

  it('takes tensors out of the weights it is given, and reads none before its bytes are used', async () => {
    const at = await write();
    const weights = await readWeights(at);
    const { g } = modernbert(new Checkpoint(at, await readSettings(at), weights));
    expect([...weights.keys()]).toEqual([]);
    const file = join(at, 'model.safetensors');
    await truncate(file, (await stat(file)).size - 4);
    const { initializers } = g.build();
    expect(() => [...initializers.values()].map((t) => t.bytes)).toThrow(/model\.safetensors: expected \d+ bytes at/);
  });

  it('follows each setting, under its new and its old name', async () => {
    const of = async (config: Config) => score(await fromSafetensors(await write(config)), [ROW]);
    const standard = await of({});
    for (const changed of [
      { classifier_pooling: 'cls' },
      { local_attention: 2 },
      { layer_types: ['full_attention', 'full_attention'] },
      { hidden_activation: 'relu' },
      { classifier_activation: 'relu' },
      { norm_eps: 0.1 },
      { rope_parameters: { full_attention: { rope_theta: 10 } } },
      { rope_parameters: { sliding_attention: { rope_theta: 10 } } },
    ])
      expect(far(await of(changed), standard), JSON.stringify(changed)).toBeGreaterThan(1e-4);
    const bases = { full_attention: { rope_theta: 50 }, sliding_attention: { rope_theta: 20 } };
    const old = { layer_types: undefined, global_attn_every_n_layers: 2, global_rope_theta: 50, local_rope_theta: 20 };
    expect(await of(old)).toEqual(await of({ rope_parameters: bases }));
    const both = { full_attention: { rope_theta: 50 }, sliding_attention: { rope_theta: 50 } };
    expect(await of({ ...old, local_rope_theta: null })).toEqual(await of({ rope_parameters: both }));
  });

  it('gives hidden states where there is no classifier, and leaves the language-model head out', async () => {
    const weights = modernbertWeights();
    for (const name of ['classifier.weight', 'classifier.bias']) weights.delete(name);
    weights.set('decoder.bias', float32([24], new Float32Array(24)));
    const masked = { architectures: ['ModernBertForMaskedLM'] };
    const model = await fromSafetensors(await write(masked, weights));
    expect(leftOutOf(model)).toBe('3 (head.dense.weight, head.norm.weight, decoder.bias)');
    expect(leftOutOf(await fromSafetensors(await write()))).toBeUndefined();
    const { graph } = model;
    expect(graph.outputs).toMatchObject([{ name: 'last_hidden_state', dims: ['batch', 'sequence', 8] }]);
    expect([...graph.initializers.keys()].filter((name) => /decoder|^head/.test(name))).toEqual([]);
    const bare = new Map([...weights].map(([name, value]) => [name.replace(/^model\./, ''), value]));
    expect((await fromSafetensors(await write(masked, bare))).graph.outputs[0]!.name).toBe('last_hidden_state');
  });
});

const changed = (change: (weights: Weights) => void): Weights => {
  const weights = modernbertWeights();
  change(weights);
  return weights;
};
const WI = 'model.layers.1.mlp.Wi.weight';

describe('folders whose files do not match', () => {
  it.each<[string, Config, RegExp]>([
    [
      'another family',
      { model_type: 'gpt2' },
      /config\.json: model_type: expected one of albert, bert, .*, got model_type gpt2/,
    ],
    [
      'a family of Object',
      { model_type: 'constructor' },
      /expected one of albert, bert, .*, got model_type constructor/,
    ],
    ['no family', { model_type: undefined }, /got model_type undefined/],
    [
      'fewer layers',
      { num_hidden_layers: 1, layer_types: undefined },
      /only tensors .* got model\.layers\.1\.attn_norm/,
    ],
    ['more layers', { num_hidden_layers: 1e9, layer_types: undefined }, /layers\.2\.attn_norm\.weight, got 18 tensors/],
    ['half a layer', { num_hidden_layers: 1.5 }, /num_hidden_layers: expected a positive integer, got 1\.5/],
    ['layers below 0', { num_hidden_layers: -1 }, /num_hidden_layers: expected a positive integer, got -1/],
    ['kinds of other layers', { layer_types: ['full_attention'] }, /layer_types: expected 2 layers, got 1/],
    ['an unknown kind', { layer_types: ['full_attention', 'x'] }, /layer_types\[1\]: expected full_attention or/],
    ['another hidden size', { hidden_size: 16 }, /shape \[24, 16\] .*tok_embeddings\.weight, got float32 of \[24, 8\]/],
    ['another vocabulary', { vocab_size: 2_000_000_000 }, /shape \[2000000000, 8\]/],
    ['heads that do not divide', { num_attention_heads: 3 }, /num_attention_heads: expected a divisor of .* 8, got 3/],
    ['heads of odd size', { num_attention_heads: 8 }, /num_attention_heads: expected heads of even size, got 1/],
    ['no head', { num_attention_heads: 0 }, /num_attention_heads: expected a positive integer, got 0/],
    [
      'other labels',
      { id2label: { 0: 'no', 1: 'yes' } },
      /shape \[2, 8\] .* classifier\.weight, got float32 of \[1, 8\]/,
    ],
    ['a bias that is not there', { norm_bias: true }, /expected a tensor model\.embeddings\.norm\.bias/],
    ['an unknown activation', { hidden_activation: 'toString' }, /hidden_activation: expected one of gelu, .*toString/],
    ['an unknown pooling', { classifier_pooling: 'max' }, /classifier_pooling: expected one of cls, mean, got "max"/],
    ['scaled positions', { rope_parameters: { full_attention: { rope_type: 'yarn' } } }, /rope_type: expected default/],
    ['a base below 0', { global_rope_theta: -1 }, /global_rope_theta: expected a number above 0, got -1/],
    ['text for a number', { norm_eps: '1e-5' }, /norm_eps: expected a number above 0, got "1e-5"/],
  ])('config.json with %s', async (_, config, message) => {
    await expect(fromSafetensors(await write(config))).rejects.toThrow(message);
  });

  it('config.json that is no object', async () => {
    const at = await write();
    await writeFile(join(at, 'config.json'), '[]');
    await expect(fromSafetensors(at)).rejects.toThrow(/config\.json: expected a JSON object, got \[\]/);
  });

  it.each<[string, (weights: Weights) => void, RegExp]>([
    ['a missing tensor', (w) => w.delete(WI), /expected a tensor model\.layers\.1\.mlp\.Wi\.weight, got 17 tensors/],
    ['a transposed tensor', (w) => w.set(WI, float32([8, 24], new Float32Array(192))), /shape \[24, 8\].*of \[8, 24\]/],
    ['a flat tensor', (w) => w.set(WI, float32([192], new Float32Array(192))), /shape \[24, 8\].*of \[192\]/],
    ['whole numbers', (w) => w.set(WI, castTensor(w.get(WI)!, 'int8')), /expected floats .*, got int8/],
    ['an empty tensor', (w) => w.set(WI, float32([0, 8], [])), /of \[0, 8\]/],
    ['no classifier', (w) => w.delete('classifier.weight'), /expected a tensor classifier\.weight/],
    ['a bias too many', (w) => w.set('head.dense.bias', float32([8], new Float32Array(8))), /got head\.dense\.bias/],
  ])('weights with %s', async (_, change, message) => {
    await expect(fromSafetensors(await write({}, changed(change)))).rejects.toThrow(message);
  });

  it.each<[string, unknown, RegExp]>([
    [
      'outside',
      { weight_map: { a: '../other/model.safetensors' } },
      /weight_map: a: expected a \.safetensors file beside/,
    ],
    ['at an absolute path', { weight_map: { a: '/etc/model.safetensors' } }, /beside the index, got "\/etc\/model/],
    ['at another file', { weight_map: { a: 'pytorch_model.bin' } }, /beside the index, got "pytorch_model\.bin"/],
    ['at no name', { weight_map: { a: 7 } }, /beside the index, got 7/],
    [
      'at a missing shard',
      { weight_map: { a: 'gone.safetensors' } },
      /gone\.safetensors: expected a shard .* no such file/,
    ],
    ['nowhere', {}, /weight_map: expected a JSON object, got nothing/],
  ])('an index that points %s', async (_, index, message) => {
    const at = await write({}, modernbertWeights(), 2);
    await writeFile(join(at, 'model.safetensors.index.json'), JSON.stringify(index));
    await expect(fromSafetensors(at)).rejects.toThrow(message);
  });

  it('an index that points at a shard without the tensor', async () => {
    const at = await write({}, modernbertWeights(), 2);
    const file = join(at, 'model.safetensors.index.json');
    const { weight_map: map } = JSON.parse(await readFile(file, 'utf8')) as { weight_map: Record<string, string> };
    await writeFile(file, JSON.stringify({ weight_map: { ...map, more: 'model-1.safetensors' } }));
    await expect(fromSafetensors(at)).rejects.toThrow(
      /model-1\.safetensors: expected a tensor more, which .* places there/,
    );
  });

  it('an index that lists half of the tensors', async () => {
    const at = await write({}, modernbertWeights(), 2);
    const half = { weight_map: { 'model.embeddings.tok_embeddings.weight': 'model-0.safetensors' } };
    await writeFile(join(at, 'model.safetensors.index.json'), JSON.stringify(half));
    await expect(fromSafetensors(at)).rejects.toThrow(
      /model-0\.safetensors: expected only tensors that .* places there/,
    );
  });

  it.each([
    ['version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n', /a pointer of Git LFS/],
    ['<!DOCTYPE html><html>404</html>', /model\.safetensors: expected weights, got a web page/],
  ])('what downloads leave in place of weights: %s', async (text, message) => {
    const at = await write();
    await writeFile(join(at, 'model.safetensors'), text);
    await expect(fromSafetensors(at)).rejects.toThrow(message);
  });

  it('an adapter beside the weights', async () => {
    const at = await write();
    await writeFile(join(at, 'adapter_config.json'), '{}');
    await expect(fromSafetensors(at)).rejects.toThrow(/adapter_config\.json: expected weights with the adapter merged/);
  });

  it('no weights, with what is there instead', async () => {
    const at = await write();
    await rm(join(at, 'model.safetensors'));
    await writeFile(join(at, 'tf_model.h5'), '');
    await expect(fromSafetensors(at)).rejects.toThrow(/one of model\.safetensors, .*index\.json, got .*tf_model\.h5/);
  });

  it.each<[string, string, RegExp]>([
    [
      'offsets beyond the file',
      '{"a":{"dtype":"F32","shape":[250000000000],"data_offsets":[0,1000000000000]}}',
      /a file with 0/,
    ],
    ['offsets before it', '{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}', /offsets that fit/],
    ['offsets of another size', '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', /offsets that fit/],
    ['offsets between bytes', '{"a":{"dtype":"F32","shape":[0],"data_offsets":[0.5,0.5]}}', /offsets that fit/],
    ['an unknown type', '{"a":{"dtype":"F8","shape":[0],"data_offsets":[0,0]}}', /dtype, shape and offsets/],
    ['null for a tensor', '{"a":null}', /dtype, shape and offsets/],
    ['null for a header', 'null', /a JSON header/],
    ['a list for a header', '[]', /a JSON header/],
  ])('safetensors with %s', async (_, header, message) => {
    const at = await write();
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    await writeFile(join(at, 'model.safetensors'), Buffer.concat([length, Buffer.from(header)]));
    await expect(fromSafetensors(at)).rejects.toThrow(message);
  });

  it('safetensors with tensors that share bytes: a small file that becomes a large model', async () => {
    const at = await write();
    const shared = [0, 2].map((from) => ({ dtype: 'U8', shape: [4], data_offsets: [from, from + 4] }));
    const header = JSON.stringify({ a: shared[0], b: shared[1] });
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    await writeFile(join(at, 'model.safetensors'), Buffer.concat([length, Buffer.from(header), Buffer.alloc(6)]));
    await expect(fromSafetensors(at)).rejects.toThrow(/tensor b: expected bytes of its own, got bytes of a/);
  });

  it('safetensors with a header longer than the file', async () => {
    const at = await write();
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(90_000_000n);
    await writeFile(join(at, 'model.safetensors'), length);
    await expect(fromSafetensors(at)).rejects.toThrow(/a length of 90000000 in a file of 8 bytes/);
  });
});
