import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { differentiate } from '../../src/autodiff/differentiate.ts';
import { insertDropout, type MaskPart } from '../../src/autodiff/dropout/insert.ts';
import { createDropoutMasks, fillDropoutMask, widenDropoutMask } from '../../src/autodiff/dropout/mask.ts';
import { NO_DROPOUT, overrideRates, ratesOf } from '../../src/autodiff/dropout/rates.ts';
import { GraphBuilder } from '../../src/onnx/builder.ts';
import { prepare } from '../../src/onnx/prepare.ts';
import { probeFeeds, probeShapes } from '../../src/onnx/probe.ts';
import { type Feeds, openRunner } from '../../src/onnx/runner.ts';
import { float32, numbers } from '../../src/onnx/tensor.ts';
import { createRandom, deriveSeed } from '../../src/util/random.ts';
import { tinyEncoder } from '../support/tiny-encoder.ts';

const part = (rate: number, count: number, name = 'p', form: MaskPart['form'] = 'float32'): MaskPart => ({
  name,
  input: `dropout.${name}`,
  form,
  rate,
  count: () => count,
  dims: () => [count],
});

const values = (mask: Feeds, name = 'p'): readonly number[] => numbers(mask[`dropout.${name}`]!);

describe('fillDropoutMask', () => {
  it('follows from seed and step alone', () => {
    const parts = [part(0.1, 5000), part(0.5, 3000, 'q')];
    const mask = (seed: number, step: number) => {
      const made = fillDropoutMask(parts, 1, 1, seed, step);
      return [...values(made), ...values(made, 'q')];
    };
    expect(mask(3, 17)).toEqual(mask(3, 17));
    expect(mask(3, 17)).not.toEqual(mask(3, 18));
    expect(mask(3, 17)).not.toEqual(mask(4, 17));
    // The places of one step differ from each other.
    const two = fillDropoutMask([part(0.5, 4000), part(0.5, 4000, 'q')], 1, 1, 1, 1);
    expect(values(two)).not.toEqual(values(two, 'q'));
  });

  it.each(['float32', 'uint8'] as const)('drops at the given rate, independently of neighbors: %s', (form) => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), fc.constantFrom(0.05, 0.1, 0.3, 0.5, 0.9), (seed, rate) => {
        const n = 200_000;
        const mask = values(fillDropoutMask([part(rate, n, 'p', form)], 1, 1, seed, 1));
        const kept = form === 'uint8' ? 1 : Math.fround(1 / (1 - rate));
        let dropped = 0;
        let pairs = 0;
        let others = 0;
        for (let i = 0; i < n; i++) {
          dropped += +(mask[i] === 0);
          others += +(mask[i] !== 0 && mask[i] !== kept);
          pairs += +(i > 0 && mask[i] === 0 && mask[i - 1] === 0);
        }
        expect(others).toBe(0);
        // Five standard deviations of a binomial count.
        expect(Math.abs(dropped - n * rate)).toBeLessThan(5 * Math.sqrt(n * rate * (1 - rate)));
        expect(Math.abs(pairs - n * rate ** 2)).toBeLessThan(10 * Math.sqrt(n) * rate);
      }),
      { numRuns: 20, seed: 1 },
    );
  });

  it('drops by geometric gaps: those of the formula, draw by draw', () => {
    const [rate, n] = [0.1, 50_000];
    const mask = values(fillDropoutMask([part(rate, n)], 1, 1, 7, 3));
    const random = createRandom(deriveSeed(7, 'dropout', 3, 0));
    const gap = () => Math.floor(Math.log(1 - random.next()) * (1 / Math.log1p(-rate)));
    const expected = new Set<number>();
    for (let at = gap(); at < n; at += 1 + gap()) expected.add(at);
    expect(mask.every((x, i) => (x === 0) === expected.has(i))).toBe(true);
  });

  it('drops nothing at 0 and everything at 1', () => {
    expect(values(fillDropoutMask([part(0, 100)], 1, 1, 1, 1)).every((x) => x === 1)).toBe(true);
    expect(values(fillDropoutMask([part(1, 100)], 1, 1, 1, 1)).every((x) => x === 0)).toBe(true);
    expect(values(fillDropoutMask([part(1, 100, 'p', 'uint8')], 1, 1, 1, 1)).every((x) => x === 0)).toBe(true);
  });

  it('overwrites the masks of the step before with `reuse`, for any sizes', () => {
    const parts = [part(0.1, 5), part(0.5, 3, 'q', 'uint8'), part(0.3, 7, 'r')];
    const wide = parts.map((p) => ({ ...p, count: (rows: number) => p.count(1, 1) * rows }));
    const masks = createDropoutMasks(wide, true);
    masks.fill({ rows: 900, length: 1 }, 1, 1);
    for (const [step, rows] of [800, 1000, 1].entries()) {
      const own = masks.fill({ rows, length: 1 }, 1, step + 2);
      const fresh = fillDropoutMask(wide, rows, 1, 1, step + 2);
      for (const name of ['p', 'q', 'r']) expect(values(own, name)).toEqual(values(fresh, name));
    }
  });

  it('widens to a larger batch: the same values are dropped, nothing of the padding is', () => {
    for (const form of ['float32', 'uint8'] as const) {
      const dims = (rows: number, length: number) => [rows, 2, length];
      const square: MaskPart = { ...part(0.5, 0, 'p', form), dims, count: (r, l) => 2 * r * l };
      const narrow = fillDropoutMask([square], 3, 4, 5, 6);
      const wide = values(widenDropoutMask([square], narrow, { rows: 3, length: 4 }, { rows: 4, length: 6 }));
      const kept = form === 'uint8' ? 1 : 2;
      const at = (r: number, h: number, l: number) => (r < 3 && l < 4 ? values(narrow)[(r * 2 + h) * 4 + l]! : kept);
      const expected = Array.from({ length: 48 }, (_, i) => at(Math.floor(i / 12), Math.floor(i / 6) % 2, i % 6));
      expect(wide).toEqual(expected);
    }
  });
});

describe('ratesOf', () => {
  it('reads config.json as each family does', () => {
    const bert = {
      model_type: 'bert',
      hidden_dropout_prob: 0.1,
      attention_probs_dropout_prob: 0.2,
      classifier_dropout: null,
    };
    expect(ratesOf(bert)).toEqual({
      ...NO_DROPOUT,
      embeddings: 0.1,
      attention: 0.2,
      attentionOutput: 0.1,
      mlp: 0.1,
      classifier: 0.1,
    });
    expect(ratesOf({ ...bert, model_type: 'roberta', classifier_dropout: 0.3 })).toMatchObject({
      dense: 0.3,
      classifier: 0.3,
    });
    expect(ratesOf({ ...bert, model_type: 'deberta-v2', pooler_dropout: 0 })).toMatchObject({
      position: 0.1,
      dense: 0,
      classifier: 0.1,
    });
    expect(ratesOf({ ...bert, model_type: 'deberta-v2', pooler_dropout: 0.4, cls_dropout: 0.5 })).toMatchObject({
      dense: 0.4,
      classifier: 0.5,
    });
    const distilbert = { model_type: 'distilbert', dropout: 0.1, attention_dropout: 0.2, seq_classif_dropout: 0.3 };
    expect(ratesOf(distilbert)).toEqual({
      ...NO_DROPOUT,
      embeddings: 0.1,
      attention: 0.2,
      mlp: 0.1,
      classifier: 0.3,
    });
    expect(
      ratesOf({
        model_type: 'modernbert',
        attention_dropout: 0.2,
        mlp_dropout: 0.3,
        embedding_dropout: 0.4,
        classifier_dropout: 0.5,
      }),
    ).toEqual({
      ...NO_DROPOUT,
      embeddings: 0.4,
      attention: 0.2,
      attentionOutput: 0.2,
      mlp: 0.3,
      classifier: 0.5,
    });
  });

  it('lets a recipe replace them', () => {
    const rates = overrideRates(NO_DROPOUT, { hidden: 0.1, attention: 0.2 });
    expect(rates).toEqual({
      embeddings: 0.1,
      attention: 0.2,
      attentionOutput: 0.1,
      mlp: 0.1,
      position: 0.1,
      dense: 0,
      classifier: 0,
    });
  });
});

const RATES = overrideRates(NO_DROPOUT, { hidden: 0.2, attention: 0.3, classifier: 0.25 });

describe('insertDropout', () => {
  it('finds the places of a layer', async () => {
    const { model, weights } = await prepare(tinyEncoder());
    const { parts } = await insertDropout(model, weights, RATES);
    expect(parts.map((p) => [p.name, p.rate, p.count(4, 6)])).toEqual([
      ['embeddings', 0.2, 4 * 6 * 8],
      ['layer.0.attention', 0.3, 4 * 2 * 6 * 6],
      ['layer.0.attention.output', 0.2, 4 * 6 * 8],
      ['layer.0.mlp', 0.2, 4 * 6 * 8],
      ['dense', 0.25, 4 * 8],
      ['classifier', 0.25, 4 * 8],
    ]);
  });

  it('returns the model unchanged where nothing is dropped', async () => {
    const { model, weights } = await prepare(tinyEncoder());
    const result = await insertDropout(model, weights, NO_DROPOUT);
    expect(result.model).toBe(model);
    expect(result.parts).toEqual([]);
  });

  it('drops by the mask and scales the rest: each site alone, against the arithmetic', async () => {
    const { model, weights } = await prepare(tinyEncoder());
    const { model: dropping, parts } = await insertDropout(model, weights, { ...NO_DROPOUT, classifier: 0.25 });
    const feeds = probeFeeds(model.graph.inputs);
    const gemm = model.graph.nodes.findLast((n) => n.op === 'MatMul')!;
    const g = GraphBuilder.from(model.graph);
    g.output(gemm.inputs[0]!);
    const plain = await openRunner({ ...model, graph: g.build() });
    const state = numbers((await plain.run(feeds))[gemm.inputs[0]!]!);
    const [weight, bias] = [
      numbers(model.graph.initializers.get(gemm.inputs[1]!)!),
      numbers(model.graph.initializers.get(weights.at(-1)!.tensor)!),
    ];
    const mask = fillDropoutMask(parts, 3, 7, 5, 1);
    const factors = values(mask, 'classifier');
    expect(new Set(factors)).toEqual(new Set([0, Math.fround(1 / 0.75)]));
    const runner = await openRunner(dropping, { level: 'all' });
    const logits = numbers((await runner.run({ ...feeds, ...mask })).logits!);
    for (const row of [0, 1, 2]) {
      const dot = weight.reduce((sum, w, h) => sum + w * state[row * 8 + h]! * factors[row * 8 + h]!, bias[0]!);
      expect(Math.abs(logits[row]! - dot)).toBeLessThan(1e-5);
    }
    await runner.close();
    await plain.close();
  });

  it('is the same with masks of bytes as with masks of factors', async () => {
    const { model, weights } = await prepare(tinyEncoder());
    const feeds = probeFeeds(model.graph.inputs);
    const [floats, bytes] = await Promise.all(
      (['float32', 'uint8'] as const).map(async (form) => {
        const { model: dropping, parts } = await insertDropout(model, weights, RATES, 'logits', form);
        const runner = await openRunner(dropping, { level: 'all' });
        const { logits } = await runner.run({ ...feeds, ...fillDropoutMask(parts, 3, 7, 5, 1) });
        await runner.close();
        return numbers(logits!);
      }),
    );
    for (const [i, x] of floats!.entries()) expect(Math.abs(x - bytes![i]!)).toBeLessThan(1e-6);
  });

  it('keeps the expected value at the last place, whatever is dropped there', async () => {
    const { model, weights } = await prepare(tinyEncoder());
    const { model: dropping, parts } = await insertDropout(model, weights, { ...NO_DROPOUT, classifier: 0.25 });
    const feeds = probeFeeds(model.graph.inputs);
    const plain = await openRunner(model);
    const expected = numbers((await plain.run(feeds)).logits!);
    const runner = await openRunner(dropping);
    const runs = 2000;
    const sums = expected.map(() => 0);
    const squares = expected.map(() => 0);
    for (let step = 0; step < runs; step++) {
      const logits = numbers((await runner.run({ ...feeds, ...fillDropoutMask(parts, 3, 7, 1, step) })).logits!);
      for (const [i, x] of logits.entries()) {
        sums[i]! += x;
        squares[i]! += x * x;
      }
    }
    for (const [i, x] of expected.entries()) {
      const mean = sums[i]! / runs;
      const deviation = Math.sqrt(squares[i]! / runs - mean ** 2);
      expect(deviation).toBeGreaterThan(0.01);
      expect(Math.abs(mean - x)).toBeLessThan((5 * deviation) / Math.sqrt(runs));
    }
    await runner.close();
    await plain.close();
  });

  it('is differentiated: no gradient where a value was dropped, scaled elsewhere', async () => {
    const { model, weights } = await prepare(tinyEncoder());
    const { model: dropping, parts } = await insertDropout(model, weights, RATES);
    const feeds = { ...probeFeeds(model.graph.inputs), ...fillDropoutMask(parts, 3, 7, 2, 1) };
    const g = GraphBuilder.from(dropping.graph, { outputs: false });
    const loss = g.output(g.reduceSum('logits', undefined, false), 'float32', []);
    const wrt = weights.map((w) => w.tensor);
    const shapes = await probeShapes({ ...dropping, graph: g.build() }, feeds);
    const { graph, gradients } = differentiate(g.build(), { of: loss, wrt, shapes });
    const out = GraphBuilder.from(graph, { outputs: false });
    for (const value of gradients.values()) out.output(value);
    const runner = await openRunner({ ...dropping, graph: out.build() }, { level: 'all' });
    const results = await runner.run(feeds);
    await runner.close();
    const differing = await openRunner({ ...dropping, graph: g.build() });
    // Each weight along its own gradient, by differences.
    for (const [name, value] of gradients) {
      const gradient = numbers(results[value]!);
      const length = Math.hypot(...gradient);
      if (length < 1e-4) continue;
      const at = async (h: number) => {
        const w = numbers(model.graph.initializers.get(name)!);
        const moved = float32(
          model.graph.initializers.get(name)!.dims,
          w.map((x, i) => x + (h * gradient[i]!) / length),
        );
        const initializers = new Map([...dropping.graph.initializers, [name, moved] as const]);
        const one = await openRunner({
          ...dropping,
          graph: { ...g.build(), initializers: new Map([...g.build().initializers, ...initializers]) },
        });
        const result = numbers((await one.run(feeds))[loss]!)[0]!;
        await one.close();
        return result;
      };
      const slope = ((await at(1e-2)) - (await at(-1e-2))) / 2e-2;
      expect(Math.abs(slope - length) / length, name).toBeLessThan(2e-2);
    }
    await differing.close();
  });
});
