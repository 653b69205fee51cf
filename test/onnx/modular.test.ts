import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkGradients } from '../../src/autodiff/check-gradients.ts';
import { fromSafetensors } from '../../src/onnx/architectures/architectures.ts';
import { TORCH_ACTIVATION_NAMES, torchActivation } from '../../src/onnx/architectures/torch-activations.ts';
import { readWholeModel } from '../../src/onnx/architectures/whole-model.ts';
import { GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import { holdWeights } from '../../src/onnx/graph.ts';
import { writeModel } from '../../src/onnx/model-file.ts';
import { prepare } from '../../src/onnx/prepare.ts';
import { narrowModel } from '../../src/onnx/rewrites/narrow.ts';
import { openRunner } from '../../src/onnx/runner.ts';
import { writeSafetensors } from '../../src/onnx/safetensors.ts';
import { float32, numbers, tensor } from '../../src/onnx/tensor.ts';
import {
  ALBERT,
  albertShapes,
  MODERNBERT,
  modernbertWeights,
  randomWeights,
  scoreRows,
  type Weights,
  writeCheckpoint,
} from '../support/tiny-checkpoint.ts';

let root = '';
let count = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'modular-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const HIDDEN = 8;
const TRANSFORMER = { path: '', type: 'sentence_transformers.base.modules.transformer.Transformer' };

interface ModuleFiles {
  readonly type: string;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly weights?: Weights;
}

const encoderWeights = () => new Map([...modernbertWeights()].filter(([name]) => !/^(head|classifier)\./.test(name)));

/** Writes a folder with an encoder and modules, in sentence-transformers' layout. */
async function modular(modules: readonly ModuleFiles[], weights = encoderWeights()): Promise<string> {
  const folder = join(root, `m${++count}`);
  await writeCheckpoint(folder, { ...MODERNBERT, architectures: ['ModernBertModel'] }, weights);
  const list = modules.map(({ type }, i) => ({
    path: `${i + 1}_${type}`,
    type: `sentence_transformers.models.${type}`,
  }));
  await writeFile(join(folder, 'modules.json'), JSON.stringify([TRANSFORMER, ...list]));
  await writeFile(join(folder, 'config_sentence_transformers.json'), '{"model_type":"CrossEncoder"}');
  for (const [i, { config, weights: own }] of modules.entries()) {
    await mkdir(join(folder, list[i]!.path));
    if (config) await writeFile(join(folder, list[i]!.path, 'config.json'), JSON.stringify(config));
    if (own) await writeSafetensors(join(folder, list[i]!.path, 'model.safetensors'), own);
  }
  return folder;
}

const pooling = (mode: unknown, more = {}): ModuleFiles => ({
  type: 'Pooling',
  config: { embedding_dimension: HIDDEN, pooling_mode: mode, include_prompt: true, ...more },
});

function dense(from: number, to: number, config: Readonly<Record<string, unknown>> = {}): ModuleFiles {
  const shapes = {
    'linear.weight': [to, from],
    ...(config.bias === false ? {} : { 'linear.bias': [to] }),
    ...(config.use_residual && from !== to ? { 'residual.weight': [to, from] } : {}),
  };
  return { type: 'Dense', config: { in_features: from, out_features: to, ...config }, weights: randomWeights(shapes) };
}

const identity = 'torch.nn.modules.linear.Identity';
const toScores = (from: number, more = {}) =>
  dense(from, 1, { activation_function: identity, module_output_name: 'scores', ...more });

const ROWS = [
  [2, 7, 3, 9, 11, 4, 20, 3],
  [2, 5, 13, 3, 0, 0, 0, 0],
];

/** The states of the tokens that are no padding, row by row. */
async function statesOf(folder: string): Promise<number[][][]> {
  const encoder = await fromSafetensors(
    await writeCheckpoint(`${folder}-encoder`, MODERNBERT, encoderWeights()).then(() => `${folder}-encoder`),
  );
  const runner = await openRunner(encoder, { level: 'all' });
  const dims = [ROWS.length, ROWS[0]!.length];
  const { last_hidden_state: states } = await runner.run({
    input_ids: tensor('int64', dims, ROWS.flat()),
    attention_mask: tensor(
      'int64',
      dims,
      ROWS.flat().map((id) => (id === 0 ? 0 : 1)),
    ),
  });
  await runner.close();
  const values = numbers(states!);
  return ROWS.map((row, r) =>
    row
      .map((_, t) => values.slice((r * row.length + t) * HIDDEN, (r * row.length + t + 1) * HIDDEN))
      .filter((_, t) => row[t] !== 0),
  );
}

type Vector = readonly number[];
const sum = (xs: Vector) => xs.reduce((a, b) => a + b, 0);
const over = (tokens: readonly Vector[], f: (column: Vector) => number): Vector =>
  tokens[0]!.map((_, k) => f(tokens.map((token) => token[k]!)));

/** The modes as their names say. */
const POOLED: Readonly<Record<string, (tokens: readonly Vector[]) => Vector>> = {
  cls: (tokens) => tokens[0]!,
  max: (tokens) => over(tokens, (xs) => Math.max(...xs)),
  mean: (tokens) => over(tokens, (xs) => sum(xs) / xs.length),
  mean_sqrt_len_tokens: (tokens) => over(tokens, (xs) => sum(xs) / Math.sqrt(xs.length)),
  weightedmean: (tokens) =>
    over(tokens, (xs) => sum(xs.map((x, i) => x * (i + 1))) / ((xs.length * (xs.length + 1)) / 2)),
  lasttoken: (tokens) => tokens.at(-1)!,
};

/** x · weightᵀ + bias */
function linear(x: Vector, weights: Weights, name = 'linear'): Vector {
  const matrix = numbers(weights.get(`${name}.weight`)!);
  const found = weights.get(`${name}.bias`);
  const bias = found && numbers(found);
  return Array.from({ length: matrix.length / x.length }, (_, o) =>
    sum([...x.map((v, i) => v * matrix[o * x.length + i]!), bias?.[o] ?? 0]),
  );
}

const score = async (folder: string) => scoreRows(await fromSafetensors(folder), ROWS, 0);
const close = (got: Vector, expected: Vector) => {
  expect(got).toHaveLength(expected.length);
  for (const [i, x] of expected.entries()) expect(Math.abs(got[i]! - x)).toBeLessThan(1e-5 * Math.max(1, Math.abs(x)));
};

describe('pooling', () => {
  it.each(Object.keys(POOLED))('%s ignores padding', async (mode) => {
    const last = toScores(HIDDEN);
    const folder = await modular([pooling(mode), last]);
    const states = await statesOf(folder);
    close(
      await score(folder),
      states.map((tokens) => linear(POOLED[mode]!(tokens), last.weights!)[0]!),
    );
  });

  it('by several modes joins their vectors, named in a list or by the flags of older files', async () => {
    const modes = ['cls', 'mean', 'lasttoken'];
    const last = toScores(3 * HIDDEN);
    const listed = await modular([pooling(modes), last]);
    const states = await statesOf(listed);
    const expected = states.map(
      (tokens) =>
        linear(
          modes.flatMap((mode) => POOLED[mode]!(tokens)),
          last.weights!,
        )[0]!,
    );
    close(await score(listed), expected);
    const flags = Object.fromEntries(['cls_token', 'mean_tokens', 'lasttoken'].map((f) => [`pooling_mode_${f}`, true]));
    const old = { word_embedding_dimension: HIDDEN, pooling_mode_max_tokens: false, ...flags };
    close(await score(await modular([{ type: 'Pooling', config: old }, last])), expected);
  });

  it('of older files without a flag is the mean', async () => {
    const last = toScores(HIDDEN);
    const folder = await modular([{ type: 'Pooling', config: { word_embedding_dimension: HIDDEN } }, last]);
    close(await score(folder), await score(await modular([pooling('mean'), last])));
  });
});

describe('modules', () => {
  it('follow each other: dense with residual, layer normalization, unit length', async () => {
    const tokens = dense(HIDDEN, HIDDEN, { module_input_name: 'token_embeddings', activation_function: identity });
    const wide = dense(HIDDEN, 6, { use_residual: true, bias: false, activation_function: 'torch.nn.ReLU' });
    const norm = {
      type: 'LayerNorm',
      config: { dimension: 6 },
      weights: randomWeights({ 'norm.weight': [6], 'norm.bias': [6] }),
    };
    const last = toScores(6);
    const unit = { type: 'Normalize', config: { module_input_name: 'sentence_embedding' } };
    const folder = await modular([
      tokens,
      pooling('mean'),
      wide,
      { type: 'Dropout', config: { dropout: 0.2 } },
      norm,
      unit,
      last,
    ]);
    const [scale, shift] = ['norm.weight', 'norm.bias'].map((name) => numbers(norm.weights.get(name)!));
    const expected = (await statesOf(folder)).map((row) => {
      const pooled = POOLED.mean!(row.map((state) => linear(state, tokens.weights!)));
      const skipped = linear(pooled, wide.weights!, 'residual');
      const x = linear(pooled, wide.weights!).map((v, i) => Math.max(0, v) + skipped[i]!);
      const mean = sum(x) / x.length;
      const deviation = Math.sqrt(sum(x.map((v) => (v - mean) ** 2)) / x.length + 1e-5);
      const normed = x.map((v, i) => ((v - mean) / deviation) * scale![i]! + shift![i]!);
      const length = Math.hypot(...normed);
      return linear(
        normed.map((v) => v / length),
        last.weights!,
      )[0]!;
    });
    close(await score(folder), expected);
  });

  it('are trained with the encoder', async () => {
    const gelu = 'torch.nn.modules.activation.GELU';
    const folder = await modular([
      pooling(['max', 'weightedmean']),
      dense(2 * HIDDEN, 6, { activation_function: gelu }),
      { type: 'Normalize' },
      toScores(6),
    ]);
    const { model, weights } = await prepare(await fromSafetensors(folder));
    expect(weights.map((w) => w.tensor)).toEqual(
      expect.arrayContaining(['2_Dense.linear.weight', '4_Dense.linear.bias']),
    );
    const report = await checkGradients(await narrowModel(model), weights);
    expect(report.unreached).toEqual([]);
    expect(report.weights[0]!.ratio).toBeLessThan(0.2);
  });

  it('leave the head of a checkpoint out', async () => {
    const modules = [pooling('mean'), toScores(HIDDEN)];
    close(await score(await modular(modules, modernbertWeights())), await score(await modular(modules)));
  });

  it('are appended to an ONNX file of the encoder alone; one that gives logits is whole', async () => {
    const folder = await modular([pooling('mean'), toScores(HIDDEN)]);
    const expected = await score(folder);
    const whole = holdWeights(await fromSafetensors(folder));
    const encoder = await fromSafetensors(await writeCheckpoint(`${folder}-plain`, MODERNBERT, encoderWeights()));
    await rm(join(folder, 'model.safetensors'));
    for (const model of [encoder, whole]) {
      await writeModel(join(folder, 'model.onnx'), model);
      close(await scoreRows(await readWholeModel(folder), ROWS, 0), expected);
    }
  });

  it('follow an encoder without token types where the tokenizer gives none', async () => {
    const folder = await modular([pooling('mean'), toScores(HIDDEN)]);
    const weights = new Map([...randomWeights(albertShapes())].filter(([name]) => !name.startsWith('classifier')));
    await writeCheckpoint(folder, { ...ALBERT, architectures: ['AlbertModel'] }, weights);
    const plain = await writeCheckpoint(`${folder}-plain`, { ...ALBERT, architectures: ['AlbertModel'] }, weights);
    const inputs = async () => (await readWholeModel(folder)).graph.inputs.map(({ name }) => name);
    const ofFolder = async () => scoreRows(await readWholeModel(folder), ROWS, 0);
    const say = (settings: object) => writeFile(join(folder, 'tokenizer_config.json'), JSON.stringify(settings));
    await say({ tokenizer_class: 'BertTokenizer' });
    expect(await inputs()).toContain('token_type_ids');
    const typed = await ofFolder();
    for (const settings of [
      { tokenizer_class: 'TokenizersBackend' },
      { tokenizer_class: 'BertTokenizer', model_input_names: ['input_ids', 'attention_mask'] },
    ]) {
      await say(settings);
      expect(await inputs()).toEqual(['input_ids', 'attention_mask']);
    }
    const untyped = await ofFolder();
    const single = { ...ALBERT, architectures: ['AlbertForSequenceClassification'] };
    const alone = await writeCheckpoint(`${folder}-alone`, single, randomWeights(albertShapes()));
    await writeFile(join(alone, 'tokenizer_config.json'), '{"tokenizer_class":"TokenizersBackend"}');
    expect((await readWholeModel(alone)).graph.inputs).toHaveLength(3);
    await writeFile(join(alone, 'modules.json'), JSON.stringify([TRANSFORMER]));
    expect((await readWholeModel(alone)).graph.inputs).toHaveLength(2);
    expect(Math.abs(untyped[0]! - typed[0]!)).toBeGreaterThan(1e-3);
    await writeModel(join(folder, 'model.onnx'), await fromSafetensors(plain));
    await rm(join(folder, 'model.safetensors'));
    expect(await inputs()).toEqual(['input_ids', 'attention_mask']);
    close(await ofFolder(), untyped);
  });

  it('of a sentence encoder are left out: it has no scores', async () => {
    const folder = await modular([pooling('mean'), { type: 'Normalize' }]);
    await writeFile(join(folder, 'config_sentence_transformers.json'), '{"model_type":"SentenceTransformer"}');
    expect((await fromSafetensors(folder)).graph.outputs.map((o) => o.name)).toEqual(['last_hidden_state']);
  });
});

describe('refused with file and field', () => {
  const last = toScores(HIDDEN);
  it.each<readonly [string, readonly ModuleFiles[], RegExp]>([
    [
      'an unknown module',
      [{ type: 'WeightedLayerPooling' }, last],
      /modules\.json: \[1\]\.type: expected one of Dense, .*, got WeightedLayerPooling/,
    ],
    [
      'an unknown mode',
      [pooling('median'), last],
      /1_Pooling\/config\.json: pooling_mode: expected one of cls, .*, got "median"/,
    ],
    [
      'another width',
      [pooling('cls', { embedding_dimension: 9 }), last],
      /embedding_dimension: expected 8, as before it, got 9/,
    ],
    [
      'a dense of another width',
      [pooling('cls'), toScores(9)],
      /2_Dense\/config\.json: in_features: expected 8, as before it, got 9/,
    ],
    [
      'an activation outside torch.nn',
      [pooling('cls'), toScores(HIDDEN, { activation_function: 'os.system' })],
      /activation_function: expected a class of torch\.nn: .*, got os\.system/,
    ],
    [
      'an activation that needs arguments',
      [pooling('cls'), toScores(HIDDEN, { activation_function: 'torch.nn.Threshold' })],
      /got torch\.nn\.Threshold/,
    ],
    [
      'an odd gated layer',
      [pooling('cls'), toScores(HIDDEN, { activation_function: 'torch.nn.GLU' })],
      /expected an even out_features, not 1/,
    ],
    [
      'a feature that nothing wrote',
      [pooling('cls'), toScores(HIDDEN, { module_input_name: 'image' })],
      /module_input_name: expected one of token_embeddings, sentence_embedding, got image/,
    ],
    [
      'a field without effect',
      [pooling('cls'), toScores(HIDDEN, { gain: 2 })],
      /gain: expected only fields in_features/,
    ],
    [
      'modules without scores',
      [pooling('cls')],
      /expected a module that writes scores.*got modules that write token_embeddings, sentence_embedding/,
    ],
    [
      'weights that are missing',
      [pooling('cls'), { ...last, weights: new Map() }],
      /2_Dense: expected a tensor 2_Dense\.linear\.weight/,
    ],
    [
      'weights of nothing',
      [pooling('cls'), { ...last, config: { ...last.config, bias: false } }],
      /expected only tensors .*2_Dense\.linear\.bias/,
    ],
  ])('%s', async (_, modules, message) => {
    await expect(fromSafetensors(await modular(modules))).rejects.toThrow(message);
  });

  it.each([
    [
      [
        { ...TRANSFORMER, path: '0_Transformer' },
        { path: '', type: 'sentence_transformers.models.Pooling' },
      ],
      /\[0\]\.path: expected the Transformer in the folder itself/,
    ],
    [
      [TRANSFORMER, { path: '../2_Dense', type: 'sentence_transformers.models.Dense' }],
      /\[1\]\.path: expected the name of a folder inside, got \.\.\/2_Dense/,
    ],
    [[TRANSFORMER, { path: '1_Dense', type: 'evil.Dense' }], /\[1\]\.type: .*got evil\.Dense/],
    [
      [{ path: '', type: 'sentence_transformers.models.WordEmbeddings' }, TRANSFORMER],
      /\[0\]\.type: expected a Transformer first, got WordEmbeddings/,
    ],
    [{}, /expected a list of modules, got \{\}/],
  ])('%j', async (list, message) => {
    const folder = await modular([]);
    await writeFile(join(folder, 'modules.json'), JSON.stringify(list));
    await expect(fromSafetensors(folder)).rejects.toThrow(message);
  });
});

describe('functions of torch.nn', () => {
  const INPUT = [-30, -3.2, -0.7, -0.4, 0, 0.3, 0.6, 2.5, 6.5, 40];

  /** What PyTorch 2.15 gives for `INPUT`, in float64, without arguments and in evaluation. PReLU's weight is 0.25. */
  const TORCH: Readonly<Record<string, Vector>> = {
    AlphaDropout: INPUT,
    CELU: [-1, -0.959238, -0.503415, -0.32968, 0, 0.3, 0.6, 2.5, 6.5, 40],
    Dropout: INPUT,
    ELU: [-1, -0.959238, -0.503415, -0.32968, 0, 0.3, 0.6, 2.5, 6.5, 40],
    GELU: [0, -0.00219884, -0.169375, -0.137831, 0, 0.185373, 0.435448, 2.48448, 6.5, 40],
    GLU: [-17.2333, -2.0661, -0.646899, -0.3994, 0],
    Hardshrink: [-30, -3.2, -0.7, 0, 0, 0, 0.6, 2.5, 6.5, 40],
    Hardsigmoid: [0, 0, 0.383333, 0.433333, 0.5, 0.55, 0.6, 0.916667, 1, 1],
    Hardswish: [0, 0, -0.268333, -0.173333, 0, 0.165, 0.36, 2.29167, 6.5, 40],
    Hardtanh: [-1, -1, -0.7, -0.4, 0, 0.3, 0.6, 1, 1, 1],
    Identity: INPUT,
    LeakyReLU: [-0.3, -0.032, -0.007, -0.004, 0, 0.3, 0.6, 2.5, 6.5, 40],
    LogSigmoid: [-30, -3.23995, -1.10319, -0.913015, -Math.LN2, -0.554355, -0.437488, -0.0788897, -0.00150231, 0],
    LogSoftmax: [-70, -43.2, -40.7, -40.4, -40, -39.7, -39.4, -37.5, -33.5, 0],
    Mish: [0, -0.127783, -0.26787, -0.188916, 0, 0.208001, 0.466136, 2.47139, 6.49997, 40],
    PReLU: [-7.5, -0.8, -0.175, -0.1, 0, 0.3, 0.6, 2.5, 6.5, 40],
    RReLU: [-6.875, -0.733333, -0.160417, -0.0916667, 0, 0.3, 0.6, 2.5, 6.5, 40],
    ReLU: [0, 0, 0, 0, 0, 0.3, 0.6, 2.5, 6.5, 40],
    ReLU6: [0, 0, 0, 0, 0, 0.3, 0.6, 2.5, 6, 6],
    SELU: [-1.7581, -1.68644, -0.885053, -0.57961, 0, 0.31521, 0.630421, 2.62675, 6.82956, 42.028],
    SiLU: [0, -0.12533, -0.232269, -0.160525, 0, 0.172333, 0.387394, 2.31035, 6.49024, 40],
    Sigmoid: [0, 0.0391657, 0.331812, 0.401312, 0.5, 0.574443, 0.645656, 0.924142, 0.998499, 1],
    Softmax: [0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    Softmin: [1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    Softplus: [0, 0.0399533, 0.403186, 0.513015, Math.LN2, 0.854355, 1.03749, 2.57889, 6.5015, 40],
    Softshrink: [-29.5, -2.7, -0.2, 0, 0, 0, 0.1, 2, 6, 39.5],
    Softsign: [-0.967742, -0.761905, -0.411765, -0.285714, 0, 0.230769, 0.375, 0.714286, 0.866667, 0.97561],
    Tanh: [-1, -0.996682, -0.604368, -0.379949, 0, 0.291313, 0.53705, 0.986614, 0.999995, 1],
    Tanhshrink: [-29, -2.20332, -0.0956322, -0.020051, 0, 0.00868739, 0.0629504, 1.51339, 5.5, 39],
  };

  it('give what PyTorch gives', async () => {
    expect(Object.keys(TORCH).sort()).toEqual([...TORCH_ACTIVATION_NAMES].sort());
    const g = new GraphBuilder('functions');
    const x = g.input('x', 'float32', [1, INPUT.length]);
    for (const name of TORCH_ACTIVATION_NAMES) {
      const slope = () => g.initializer('slope', float32([1], [0.25]));
      g.output(
        torchActivation(`torch.nn.modules.activation.${name}`)!.apply(g, x, INPUT.length, slope),
        'float32',
        undefined,
        name,
      );
    }
    const runner = await openRunner(modelOf(g.build()), { level: 'all' });
    const results = await runner.run({ x: tensor('float32', [1, INPUT.length], INPUT) });
    await runner.close();
    for (const [name, expected] of Object.entries(TORCH)) {
      const got = numbers(results[name]!);
      expect([name, got.length]).toEqual([name, expected.length]);
      for (const [i, y] of expected.entries()) expect(got[i]!, `${name} of ${INPUT[i]}`).toBeCloseTo(y, 3);
    }
  });

  it.each([
    'Tanh',
    'torch.nn.functional.tanh',
    'torch.nn.modules.activation.Softmax2d',
    'evil.torch.nn.Tanh',
    'torch.nn.constructor',
  ])('%s is not one of them', (path) => expect(torchActivation(path)).toBeUndefined());
});
