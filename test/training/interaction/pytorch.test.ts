import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { differentiate } from '../../../src/autodiff/differentiate.ts';
import { Checkpoint } from '../../../src/onnx/architectures/checkpoint.ts';
import { Settings } from '../../../src/onnx/architectures/settings.ts';
import { GraphBuilder } from '../../../src/onnx/builder.ts';
import { passageGraph } from '../../../src/onnx/interaction/passage-graph.ts';
import { readInteraction } from '../../../src/onnx/interaction/settings.ts';
import { prepare } from '../../../src/onnx/prepare.ts';
import { probeShapes } from '../../../src/onnx/probe.ts';
import { runOnce } from '../../../src/onnx/runner.ts';
import { float32, numbers, sizeOf, type Tensor, tensor, transposeTensor } from '../../../src/onnx/tensor.ts';
import { trainedTop } from '../../../src/training/interaction/top.ts';

/*
 * Scores and gradients of both forms against PyTorch's in float64, which forms keys and values of passages. `test/clients/interaction/make_gold.py`
 * makes the file; weights and states follow from the same formulas.
 */

interface Form {
  readonly form: 'cosine' | 'first';
  /** Of the weights beside the encoder's. */
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  readonly scores: readonly number[];
  readonly loss: number;
  /** Length of each weight's gradient, and its product with the formula's vector; null where the loss does not depend on it. */
  readonly gradients: readonly (readonly [number, number] | null)[];
}

interface Gold {
  readonly config: Readonly<Record<string, unknown>>;
  readonly queries: readonly (readonly number[])[];
  readonly queryOf: readonly number[];
  readonly passageTokens: readonly number[];
  readonly bottom: number;
  readonly top: number;
  readonly encoder: Form['shapes'];
  readonly tower: {
    readonly ids: readonly number[];
    readonly states: readonly number[];
    readonly vector: readonly number[];
  };
  readonly forms: readonly Form[];
}

const gold = JSON.parse(readFileSync(join(import.meta.dirname, 'pytorch-tops.json'), 'utf8')) as Gold;
const HIDDEN = Number(gold.config.hidden_size);

const formula = (count: number, t: number): Float32Array =>
  Float32Array.from({ length: count }, (_, j) => (((j * 7919 + t * 104729 + 13) % 1009) / 1009 - 0.5) * 0.8);

const shapesOf = ({ shapes }: Form): Form['shapes'] => ({ ...gold.encoder, ...shapes });

const weightsOf = (form: Form): Map<string, Tensor> =>
  new Map(
    Object.entries(shapesOf(form)).map(([name, dims], t) => {
      const shift = /Norm\.weight$|\.norm\.weight$|^interaction\.scale$/.test(name) ? 1 : 0;
      return [
        name,
        float32(
          dims,
          formula(sizeOf(dims), t).map((x) => x + shift),
        ),
      ];
    }),
  );

function configOf(form: Form['form'], states: number): Settings {
  const { bottom, top } = gold;
  const pooling = form === 'first' ? 'cls' : 'mean';
  return new Settings('config.json', { ...gold.config, interaction: { form, top, bottom, states, pooling } });
}

const checkpointOf = (form: Form, states: number): Checkpoint =>
  new Checkpoint('gold', configOf(form.form, states), weightsOf(form), { isHeadless: true, isUntyped: true });

const padded = (rows: readonly (readonly number[])[]): Tensor => {
  const length = Math.max(...rows.map((row) => row.length));
  return tensor(
    'int64',
    [rows.length, length],
    rows.flatMap((row) => Array.from({ length }, (_, i) => row[i] ?? 0)),
  );
};

/** Inputs of the top; padding of passages has states that are not 0, which must not be read. */
function feedsOf(form: Form['form']): Record<string, Tensor> {
  const { queries, queryOf, passageTokens } = gold;
  const length = Math.max(...passageTokens);
  const each = <T>(value: (r: number, t: number, h: number) => T, width: number): T[] =>
    passageTokens.flatMap((_, r) =>
      Array.from({ length: length * width }, (_, i) => value(r, Math.floor(i / width), i % width)),
    );
  const vectors = passageTokens.flatMap((_, r) => {
    const v = formula(HIDDEN, 1000 + r);
    const norm = Math.sqrt(v.reduce((sum, x) => sum + x * x, 0));
    return Array.from(v, (x) => x / norm);
  });
  return {
    input_ids: padded(queries),
    attention_mask: padded(queries.map((row) => row.map(() => 1))),
    query_of: tensor('int64', [queryOf.length], queryOf),
    states: tensor(
      'int8',
      [passageTokens.length, length, HIDDEN],
      each((r, t, h) => (((t * HIDDEN + h) * 37 + r * 11 + 5) % 255) - 127, HIDDEN),
    ),
    scales: tensor(
      'float32',
      [passageTokens.length, length],
      each((r, t) => (1 + ((t + r) % 3)) / 127, 1),
    ),
    passage_mask: tensor(
      'int64',
      [passageTokens.length, length],
      each((r, t) => +(t < passageTokens[r]!), 1),
    ),
    ...(form === 'cosine' && { vector: float32([passageTokens.length, HIDDEN], vectors) }),
  };
}

const isMatrix = (name: string, dims: readonly number[]): boolean => dims.length === 2 && !name.includes('embeddings');

/** Returns scores, loss and gradients in PyTorch's layout. */
async function computed(form: Form) {
  const settings = readInteraction(configOf(form.form, form.form === 'first' ? gold.bottom : 2), 3);
  const top = trainedTop(checkpointOf(form, settings.states), settings, 'int8');
  const { model, weights } = await prepare(top, { output: 'logits', include: ['interaction.'] });
  const g = GraphBuilder.from(model.graph, { outputs: false });
  const scores = g.reshape('logits', [-1]);
  const linear = g.mul(scores, g.constant(float32([3], [1, -0.5, 2])));
  const loss = g.reduceSum(g.add(linear, g.mul(g.scalar(0.25), g.mul(scores, scores))), [0], false);
  const feeds = feedsOf(form.form);
  const names = weights.map(({ tensor: name }) => name);
  const forward = { ...model, graph: g.build() };
  const { graph, gradients } = differentiate(forward.graph, {
    of: loss,
    wrt: names,
    shapes: await probeShapes(forward, feeds),
  });
  const outputs = [scores, loss, ...gradients.values()].map((name) => ({ name }));
  const results = await runOnce({ ...model, graph: { ...graph, outputs } }, feeds);
  return {
    scores: numbers(results[scores]!),
    loss: numbers(results[loss]!)[0]!,
    gradients: new Map(
      [...gradients].map(([name, value]) => {
        const found = results[value]!;
        return [name, numbers(isMatrix(name, found.dims) ? transposeTensor(found) : found)] as const;
      }),
    ),
  };
}

describe('scores and gradients of interaction models are PyTorch’s', () => {
  it.each(gold.forms.map((form) => [form.form, form] as const))('form %s', async (_, form) => {
    const found = await computed(form);
    for (const [i, score] of form.scores.entries()) expect(found.scores[i]).toBeCloseTo(score, 5);
    expect(found.loss).toBeCloseTo(form.loss, 5);
    const largest = Math.max(...form.gradients.map((pair) => pair?.[0] ?? 0));
    for (const [place, name] of Object.keys(shapesOf(form)).entries()) {
      const [norm, product] = form.gradients[place] ?? [0, 0];
      const gradient = found.gradients.get(name) ?? [];
      const along = formula(gradient.length, place + 500);
      const own = Math.sqrt(gradient.reduce((sum, x) => sum + x * x, 0));
      expect(Math.abs(own - norm), `${name}: length`).toBeLessThan(1e-5 * largest);
      const projected = gradient.reduce((sum, x, i) => sum + x * along[i]!, 0);
      expect(Math.abs(projected - product), `${name}: direction`).toBeLessThan(1e-5 * largest);
    }
  });

  it('states and vectors of passages', async () => {
    const { tower } = gold;
    const { model } = passageGraph(checkpointOf(gold.forms[0]!, 2), 'int8');
    const results = await runOnce(model, {
      input_ids: padded([tower.ids, tower.ids.slice(0, 3)]),
      attention_mask: padded([tower.ids.map(() => 1), [1, 1, 1]]),
    });
    const scales = numbers(results.scales!);
    const states = numbers(results.states!).map((x, i) => x * scales[Math.floor(i / HIDDEN)]!);
    for (const [i, wanted] of tower.states.entries())
      expect(Math.abs(states[i]! - wanted)).toBeLessThan(0.51 * scales[Math.floor(i / HIDDEN)]!);
    for (const [i, wanted] of tower.vector.entries()) expect(numbers(results.vector!)[i]).toBeCloseTo(wanted, 5);
  });
});
