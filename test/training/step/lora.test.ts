import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkGradients } from '../../../src/autodiff/check-gradients.ts';
import { differentiate } from '../../../src/autodiff/differentiate.ts';
import { GraphBuilder, modelOf } from '../../../src/onnx/builder.ts';
import type { Model } from '../../../src/onnx/graph.ts';
import { readModel } from '../../../src/onnx/model-file.ts';
import { prepare } from '../../../src/onnx/prepare.ts';
import { probeShapes } from '../../../src/onnx/probe.ts';
import { runOnce } from '../../../src/onnx/runner.ts';
import { float32, numbers, sizeOf, tensor } from '../../../src/onnx/tensor.ts';
import { publishRun } from '../../../src/training/publish/publish.ts';
import type { LoadedRecipe } from '../../../src/training/recipe/recipe.ts';
import { explainRecipe } from '../../../src/training/run/explanation.ts';
import { train } from '../../../src/training/run/trainer.ts';
import { loadBackbone, withWeights } from '../../../src/training/step/backbone.ts';
import { type Adapter, createAdapters, insertAdapters, mergeAdapters } from '../../../src/training/step/lora.ts';
import { openSessions } from '../../../src/training/step/sessions.ts';
import { tinyEncoder } from '../../support/tiny-encoder.ts';
import { tinyData, writeTinyModel } from '../../support/tiny-model.ts';
import { LEARNING, tinyRecipe } from '../../support/tiny-recipe.ts';
// x·W + b + scale·x·A·B through tanh and a layer stored as [out, in], in PyTorch 2.15 in float64.
import pytorch from './pytorch-lora.json' with { type: 'json' };

const SETTINGS = { rank: 2, alpha: 3, targets: ['*'], dropout: 0 };

/** Returns the adapters with values in place of the zeros that they start with. */
const moved = (adapters: readonly Adapter[]): readonly Adapter[] =>
  adapters.map((adapter) => {
    const { dims } = adapter.up.value;
    const values = Array.from({ length: sizeOf(dims) }, (_, i) => 0.3 * Math.sin(5 * i + 1));
    return { ...adapter, up: { ...adapter.up, value: float32(dims, values) } };
  });

async function adapted(encoder: Model, targets: readonly string[] = ['*']) {
  const { model, weights } = await prepare(encoder);
  const candidates = weights.map(({ tensor: name, name: parameter, decay: decays }) => ({
    name,
    parameter,
    value: model.graph.initializers.get(name)!,
    decays,
    group: 'backbone' as const,
    frozen: false,
  }));
  return { model, adapters: createAdapters(model.graph, candidates, { ...SETTINGS, targets: [...targets] }, 1) };
}

const ids = { input_ids: tensor('int64', [2, 5], [1, 4, 7, 2, 3, 9, 8, 1, 5, 6]) };
const logits = async (model: Model) => [...numbers((await runOnce(model, ids)).logits!)];

describe('adapters', () => {
  it('change no score at the start, and the merged weights score as the adapters do', async () => {
    const { model, adapters } = await adapted(tinyEncoder());
    const before = await logits(model);
    expect(await logits(insertAdapters(model, adapters))).toEqual(before);
    const other = moved(adapters);
    const expected = await logits(insertAdapters(model, other));
    const state = new Map(
      other.flatMap(({ down, up }) => [down, up]).map((w) => [w.name, Float32Array.from(numbers(w.value))]),
    );
    const merged = await logits(withWeights(model, mergeAdapters(model, other, state)));
    for (const [i, score] of expected.entries()) {
      expect(Math.abs(merged[i]! - score)).toBeLessThan(1e-5);
      expect(Math.abs(before[i]! - score)).toBeGreaterThan(1e-2);
    }
  });

  it('have the gradients of central differences', async () => {
    const { model, adapters } = await adapted(tinyEncoder());
    const other = moved(adapters);
    const weights = other
      .flatMap(({ down, up }) => [down, up])
      .map(({ name, value }) => ({ tensor: name, name, dims: value.dims, decay: true }));
    const report = await checkGradients(insertAdapters(model, other), weights);
    expect(report.unreached).toEqual([]);
    expect(report.weights[0]!.ratio).toBeLessThan(0.2);
  });

  it('have outputs and gradients of PyTorch, whichever way the weight is stored', async () => {
    const g = new GraphBuilder();
    const x = g.constant(float32([3, 4], pytorch.x), 'x');
    const first = g.add(
      g.matmul(x, g.initializer('w1.weight', float32([4, 6], pytorch.w1))),
      g.initializer('w1.bias', float32([6], pytorch.b1)),
    );
    const second = g.op(
      'Gemm',
      [
        g.op('Tanh', [first]),
        g.initializer('w2.weight', float32([2, 6], pytorch.w2)),
        g.initializer('w2.bias', float32([2], pytorch.b2)),
      ],
      { transB: 1 },
    );
    g.output(second, 'float32', [3, 2], 'y');
    const graph = g.build();
    const weight = (name: string, dims: readonly number[], values: readonly number[]) => ({
      name,
      value: float32(dims, values),
      decays: true,
      group: 'backbone' as const,
    });
    const [a1, b1, a2, b2] = pytorch.adapters as [number[], number[], number[], number[]];
    const adapters = [
      { tensor: 'w1.weight', transposed: false, down: weight('a1', [4, 2], a1), up: weight('b1', [2, 6], b1) },
      { tensor: 'w2.weight', transposed: true, down: weight('a2', [6, 2], a2), up: weight('b2', [2, 2], b2) },
    ].map((adapter) => ({ ...adapter, scale: pytorch.scale }));
    const withLora = GraphBuilder.from(insertAdapters(modelOf(graph), adapters).graph);
    const loss = withLora.reduceSum(withLora.mul('y', 'y'), undefined, false);
    const whole = withLora.build();
    const wrt = ['a1', 'b1', 'a2', 'b2'];
    const { graph: both, gradients } = differentiate(whole, {
      of: loss,
      wrt,
      shapes: await probeShapes(modelOf(whole), {}),
    });
    const all = GraphBuilder.from(both);
    for (const value of gradients.values()) all.output(value);
    const results = await runOnce(modelOf(all.build()), {});
    const near = (name: string, expected: readonly number[]) => {
      const found = numbers(results[name]!);
      for (const [i, value] of expected.entries()) expect(Math.abs(found[i]! - value)).toBeLessThan(1e-5);
    };
    near('y', pytorch.output);
    for (const [i, name] of wrt.entries()) near(gradients.get(name)!, pytorch.gradients[i]!);
  });

  it('refuse a target that matches no matrix of the encoder', async () => {
    await expect(adapted(tinyEncoder(), ['query'])).rejects.toThrow(/lora\.targets.*"query", which matches none of/);
  });
});

const folder = mkdtempSync(join(tmpdir(), 'winnow-lora-'));
beforeAll(async () => {
  await writeTinyModel(join(folder, 'tiny'));
  tinyData(join(folder, 'lists.jsonl'), 200);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const recipe = (over: Record<string, unknown> = {}): LoadedRecipe =>
  tinyRecipe(folder, {
    ...LEARNING,
    steps: 30,
    optimizer: { learningRate: 0.02 },
    dropout: undefined,
    lora: { rank: 4, alpha: 8, dropout: 0.1 },
    checkpoint: { every: 7 },
    ...over,
  });

async function losses(loaded: LoadedRecipe, run: string, stopAt?: number): Promise<number[]> {
  const found: number[] = [];
  const stop = new AbortController();
  const onStep = (s: { readonly step: number; readonly loss: number }) => {
    found.push(s.loss);
    if (s.step === stopAt) stop.abort();
  };
  await train(loaded, join(folder, run), { onStep }, stop.signal);
  return found;
}

describe('a run with adapters', () => {
  it('trains adapters and head alone, whose moments are all that it keeps', async () => {
    const { recipe: settings } = recipe();
    const backbone = await loadBackbone(join(folder, 'tiny'), settings);
    const sessions = await openSessions(backbone, settings, 0);
    expect(sessions.trained.map(({ name }) => name)).toEqual([
      'lora.down.attention.weight',
      'lora.up.attention.weight',
      'lora.down.dense.weight',
      'lora.up.dense.weight',
      'classifier.weight',
      'classifier.bias',
    ]);
    expect(sessions.stepper.state().size).toBe(3 * sessions.trained.length);
    await sessions.close();
  });

  it('lowers the loss', async () => {
    const found = await losses(recipe({ steps: 150, lora: { rank: 8 }, optimizer: { learningRate: 0.03 } }), 'falls');
    const sum = (part: readonly number[]) => part.reduce((a, b) => a + b);
    expect(sum(found.slice(-15))).toBeLessThan(0.9 * sum(found.slice(0, 15)));
  });

  it.each(['host', 'graph'])('goes on with the same bits after a stop, optimizer in the %s', async (place) => {
    const settings = { optimizer: { learningRate: 0.02, place } };
    const whole = await losses(recipe(settings), `whole-${place}`);
    const before = await losses(recipe(settings), `stopped-${place}`, 9);
    expect([...before, ...(await losses(recipe(settings), `stopped-${place}`))]).toEqual(whole);
  });

  it('publishes a graph of the form of a full run, with the scores of the run', async () => {
    const publish = { registry: 'registry', int8: false };
    const names = async (over: Record<string, unknown>, run: string) => {
      const loaded = recipe({ publish: { ...publish, name: run }, steps: 8, ...over });
      const outcome = await train(loaded, join(folder, run));
      await publishRun(loaded, outcome);
      const [version] = readdirSync(join(folder, 'registry', run));
      const { graph } = await readModel(join(folder, 'registry', run, version!, 'onnx', 'model.onnx'));
      return { nodes: graph.nodes.map((n) => n.op), weights: [...graph.initializers].map(([n, t]) => [n, t.dims]) };
    };
    const full = await names({ lora: undefined }, 'full');
    expect(await names({}, 'merged')).toEqual(full);
  });

  it('is explained: adapters, trained weights', async () => {
    const { weights } = await explainRecipe(recipe({ steps: 2 }));
    expect(weights).toMatchObject({ adapters: 2, trained: 2 * (16 * 4 + 4 * 16) + 17, freshHead: false });
  });
});

describe('learning rates by layer', () => {
  it.each(['host', 'graph'])('multiply the update of the weights they match, optimizer in the %s', async (place) => {
    const step = async (rates: readonly { readonly match: string; readonly factor: number }[]) => {
      const loaded = recipe({
        lora: undefined,
        steps: 1,
        schedule: { name: 'constant', warmup: 0 },
        optimizer: { learningRate: 0.01, weightDecay: 0, place, rates },
      });
      const { weights, backbone } = await train(loaded, join(folder, `rates-${place}-${rates.length}`));
      const change = (name: string): number => {
        const before = numbers(backbone.model.graph.initializers.get(name)!);
        return Math.hypot(...weights.get(name)!.map((w, i) => w - before[i]!));
      };
      return { attention: change('attention.weight'), dense: change('dense.weight') };
    };
    const plain = await step([]);
    const scaled = await step([{ match: 'attention', factor: 0.25 }]);
    expect(scaled.attention / plain.attention).toBeCloseTo(0.25, 4);
    expect(scaled.dense / plain.dense).toBeCloseTo(1, 6);
  });

  it('refuse a pattern that matches no trained weight', async () => {
    const { recipe: settings } = recipe({ lora: undefined, optimizer: { rates: [{ match: 'layer.9', factor: 0.5 }] } });
    await expect(loadBackbone(join(folder, 'tiny'), settings)).rejects.toThrow(/optimizer\.rates.*"layer\.9"/);
  });
});
