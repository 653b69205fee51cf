import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkGradients } from '../../src/autodiff/check-gradients.ts';
import { fromSafetensors } from '../../src/onnx/architectures/architectures.ts';
import { type Model, producers } from '../../src/onnx/graph.ts';
import { prepare } from '../../src/onnx/prepare.ts';
import { probeShapes } from '../../src/onnx/probe.ts';
import { halveModel } from '../../src/onnx/rewrites/fp16.ts';
import { attachHead, freshHead } from '../../src/onnx/rewrites/head.ts';
import { narrowModel } from '../../src/onnx/rewrites/narrow.ts';
import { openRunner } from '../../src/onnx/runner.ts';
import { float32, numbers, sizeOf, tensor } from '../../src/onnx/tensor.ts';
import { type Config, type Weights, writeCheckpoint } from '../support/tiny-checkpoint.ts';

/*
 * decoders.json has the values of transformers 5.23 in float64 (eager attention) for models whose weights follow from their names: the j-th
 * name in order has 0.5 · sin(0.37 i + j) at place i, weights of normalizations 1 + 0.3 times that. A language model's value is
 * logit 5 − logit 6 at the last position.
 */
interface Case {
  readonly name: string;
  readonly config: Config;
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  /** For each row, the score or the last token's state. */
  readonly values: readonly (readonly number[])[];
}
const { rows, cases } = JSON.parse(await readFile(join(import.meta.dirname, 'decoders.json'), 'utf8')) as {
  readonly rows: readonly (readonly number[])[];
  readonly cases: readonly Case[];
};
const ANSWERS = { yes: 5, no: 6 };

function weightsOf({ shapes }: Pick<Case, 'shapes'>): Weights {
  const names = Object.keys(shapes).toSorted();
  return new Map(
    names.map((name, j) => {
      const dims = shapes[name]!;
      const wave = (i: number) => 0.5 * Math.sin(0.37 * i + j);
      const value = (i: number) => (name.endsWith('norm.weight') ? 1 + 0.3 * wave(i) : wave(i));
      return [
        name,
        float32(
          dims,
          Float32Array.from({ length: sizeOf(dims) }, (_, i) => value(i)),
        ),
      ];
    }),
  );
}

let root = '';
let count = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'decoders-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const build = async (config: Config, weights: Weights, answers?: typeof ANSWERS) =>
  fromSafetensors(await writeCheckpoint(join(root, `m${++count}`), config, weights), answers);

const caseOf = (name: string) => cases.find((one) => one.name === name)!;

/** Runs rows in one batch of a width, with padding on a side; returns what the graph says of each row's last token. */
async function run(model: Model, side: 'left' | 'right', width: number, only = rows) {
  const padded = (row: readonly number[], value: (id: number) => number, padding: number) => {
    const rest = new Array<number>(width - row.length).fill(padding);
    return side === 'left' ? [...rest, ...row.map(value)] : [...row.map(value), ...rest];
  };
  const input = (value: (id: number) => number, padding: number) =>
    tensor(
      'int64',
      [only.length, width],
      only.flatMap((row) => padded(row, value, padding)),
    );
  const runner = await openRunner(model, { level: 'all' });
  const found = await runner.run({ input_ids: input((id) => id, 3), attention_mask: input(() => 1, 0) });
  await runner.close();
  const all = numbers((found.logits ?? found.last_hidden_state)!);
  const each = all.length / only.length;
  return only.map((row, i) => {
    const values = all.slice(i * each, (i + 1) * each);
    if (found.logits) return values;
    const hidden = each / width;
    const last = side === 'left' ? width - 1 : row.length - 1;
    return values.slice(last * hidden, (last + 1) * hidden);
  });
}

const worst = (got: readonly (readonly number[])[], expected: readonly (readonly number[])[]) =>
  Math.max(...expected.flatMap((row, i) => row.map((value, k) => Math.abs(value - got[i]![k]!))));

describe('decoders from weights', () => {
  for (const one of cases)
    it(`${one.name}: PyTorch's numbers, padding on either side`, async () => {
      const isAnswering = String(one.config.architectures).endsWith('ForCausalLM');
      const model = await build(one.config, weightsOf(one), isAnswering ? ANSWERS : undefined);
      expect(worst(await run(model, 'right', 10), one.values)).toBeLessThan(1e-5);
      expect(worst(await run(model, 'left', 13), one.values)).toBeLessThan(1e-5);
    });

  it('give a row the same score alone and among 999 others', async () => {
    const one = caseOf('qwen3, tied words');
    const model = await build(one.config, weightsOf(one), ANSWERS);
    const many = Array.from({ length: 1000 }, (_, i) =>
      i === 500 ? rows[1]! : Array.from({ length: 1 + ((7 * i) % 30) }, (__, k) => 1 + ((i + 5 * k) % 23)),
    );
    const [alone] = await run(model, 'right', 3, [rows[1]!]);
    for (const side of ['left', 'right'] as const)
      expect(Math.abs((await run(model, side, 40, many))[500]![0]! - alone![0]!)).toBeLessThan(1e-5);
  });

  it('are read with the tokens that LogitScore of sentence-transformers names', async () => {
    const one = caseOf('qwen3, words of its own');
    const folder = await writeCheckpoint(join(root, 'logit-score'), one.config, weightsOf(one));
    const type = (name: string) => `sentence_transformers.${name}`;
    const modules = [
      { path: '', type: type('base.modules.transformer.Transformer') },
      { path: '1_LogitScore', type: type('cross_encoder.modules.logit_score.LogitScore') },
    ];
    await mkdir(join(folder, '1_LogitScore'));
    const write = (file: string, value: unknown) => writeFile(join(folder, file), JSON.stringify(value));
    await write('modules.json', modules);
    await write('sentence_bert_config.json', { transformer_task: 'text-generation' });
    const score = async (config: object) => {
      await write('1_LogitScore/config.json', config);
      return run(await fromSafetensors(folder), 'right', 10);
    };
    expect(worst(await score({ true_token_id: 5, false_token_id: 6 }), one.values)).toBeLessThan(1e-5);
    const yes = await score({ true_token_id: 5, false_token_id: null });
    const no = await score({ true_token_id: 6 });
    expect(
      worst(
        yes.map(([x], i) => [x! - no[i]![0]!]),
        one.values,
      ),
    ).toBeLessThan(1e-5);
    await expect(score({ true_token_id: 'yes' })).rejects.toThrow(
      /1_LogitScore.*true_token_id: expected a token id, got "yes"/,
    );
    await expect(score({ true_token_id: 99 })).rejects.toThrow(/vocab_size: expected above the id of an answer, 99/);
    await write('sentence_bert_config.json', { transformer_task: 'feature-extraction' });
    await expect(score({ true_token_id: 5 })).rejects.toThrow(
      /module_input_name: expected one of token_embeddings, got causal_logits/,
    );
  });

  it('take the head of a language model only where it is asked for', async () => {
    const one = caseOf('qwen3, words of its own');
    const model = await build(one.config, weightsOf(one));
    expect(model.graph.outputs.map(({ name }) => name)).toEqual(['last_hidden_state']);
    const narrowed = await build(one.config, weightsOf(one), ANSWERS);
    expect(narrowed.graph.outputs[0]).toMatchObject({ name: 'logits', dims: ['batch', 1] });
    expect(narrowed.graph.initializers.get('head.weight')!.dims).toEqual([8, 1]);
  });

  it('have gradients as central differences have them', async () => {
    for (const name of ['qwen3, tied words', 'qwen2, windows from the second layer on', 'qwen3, yarn']) {
      const one = caseOf(name);
      const { model, weights } = await prepare(await build(one.config, weightsOf(one), ANSWERS));
      expect(weights.some(({ tensor: weight }) => weight.includes('inv_freq'))).toBe(false);
      const report = await checkGradients(await narrowModel(model), weights);
      expect(report.unreached).toEqual([]);
      expect(report.weights[0]!.ratio).toBeLessThan(0.5);
    }
  });

  it('keep angles and squares in float32 where the rest is float16', async () => {
    const one = caseOf('qwen3, tied words');
    // States of some 500, whose squares float16 cannot hold.
    const weights = new Map(
      [...weightsOf(one)].map(([name, value]) =>
        /embed|o_proj|down_proj/.test(name)
          ? [
              name,
              float32(
                value.dims,
                numbers(value).map((x) => 1000 * x),
              ),
            ]
          : [name, value],
      ),
    );
    const { model } = await prepare(await build(one.config, weights, ANSWERS), { output: 'logits' });
    const half = halveModel(model, await probeShapes(model));
    const made = producers(half.graph);
    const makersOf = (op: string) =>
      half.graph.nodes.filter((node) => node.op === op).map(({ inputs }) => made.get(inputs[0]!)?.op);
    expect(makersOf('Pow').length).toBeGreaterThan(8);
    expect(new Set(makersOf('Pow'))).toEqual(new Set(['Cast']));
    const [whole, halved] = [await run(model, 'right', 10), await run(half, 'right', 10)];
    const size = Math.max(...whole.flat().map(Math.abs));
    expect(worst(halved, whole) / size).toBeLessThan(0.02);
  });

  it('take a fresh head that reads the last token', async () => {
    const one = caseOf('qwen3, bare');
    const bare = await build(one.config, weightsOf(one));
    const model = attachHead(bare, freshHead({ pooling: 'last', hidden: 8, seed: 1 }));
    const right = await run(model, 'right', 12);
    expect(worst(await run(model, 'left', 15), right)).toBeLessThan(1e-5);
    const [alone] = await run(model, 'right', 10, [rows[0]!]);
    expect(worst([alone!], [right[0]!])).toBeLessThan(1e-5);
    const { model: whole, weights } = await prepare(model);
    const report = await checkGradients(await narrowModel(whole), weights);
    expect(report.unreached).toEqual([]);
    expect(report.weights[0]!.ratio).toBeLessThan(0.2);
  });
});

describe('a decoder that is refused', () => {
  const one = caseOf('qwen3, one head of keys');
  const refused = (fields: Config) => build({ ...one.config, ...fields }, weightsOf(one));
  const rope = (fields: Config) => refused({ rope_parameters: { rope_theta: 10_000, ...fields } });
  it('names the field', async () => {
    await expect(rope({ rope_type: 'dynamic', factor: 2 })).rejects.toThrow(
      /rope_type: expected one of default, linear, llama3, yarn, got "dynamic"/,
    );
    await expect(refused({ rope_scaling: { type: 'mrope' } })).rejects.toThrow(/rope_scaling: type: expected one of/);
    await expect(rope({ rope_type: 'linear' })).rejects.toThrow(/factor: expected a number above 0, got nothing/);
    await expect(rope({ partial_rotary_factor: 0.5 })).rejects.toThrow(/partial_rotary_factor/);
    await expect(refused({ num_key_value_heads: 3 })).rejects.toThrow(/num_key_value_heads: expected a divisor of 4/);
    await expect(refused({ head_dim: 3 })).rejects.toThrow(/head_dim: expected heads of even size, got 3/);
    await expect(refused({ layer_types: ['sliding_attention', 'full_attention'] })).rejects.toThrow(/sliding_window/);
    await expect(refused({ layer_types: ['full_attention'] })).rejects.toThrow(/layer_types: expected 2 layers, got 1/);
    await expect(refused({ hidden_act: 'swiglu' })).rejects.toThrow(/hidden_act: expected one of .*silu/);
    await expect(refused({ num_hidden_layers: 1, layer_types: null })).rejects.toThrow(/model\.layers\.1\./);
  });

  it('names an answer outside the vocabulary', async () => {
    const words = caseOf('qwen3, tied words');
    const building = build(words.config, weightsOf(words), { yes: 24, no: 1 });
    await expect(building).rejects.toThrow(/vocab_size: expected above the id of an answer, 24, got 24/);
  });
});
