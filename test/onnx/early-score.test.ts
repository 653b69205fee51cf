import { describe, expect, it } from 'vitest';
import type { Model } from '../../src/onnx/graph.ts';
import { earlyFeatures, earlyScorer, findCut } from '../../src/onnx/rewrites/early-score.ts';
import { narrowModel } from '../../src/onnx/rewrites/narrow.ts';
import { runOnce } from '../../src/onnx/runner.ts';
import { int64s, numbers, tensor } from '../../src/onnx/tensor.ts';
import { tinyEncoder } from '../support/tiny-encoder.ts';

const WIDTH = 8;

/** Token ids of pairs, with the length of the query's part. */
const ROWS = [
  { ids: [1, 7, 3, 2, 7, 9, 2], query: 4 },
  { ids: [1, 5, 2, 5, 2], query: 3 },
] as const;

function feedsOf(rows: readonly { readonly ids: readonly number[]; readonly query: number }[]) {
  const length = Math.max(...rows.map(({ ids }) => ids.length));
  const fill = (of: (i: number, row: (typeof rows)[number]) => number) =>
    tensor(
      'int64',
      [rows.length, length],
      rows.flatMap((row) => Array.from({ length }, (_, i) => (i < row.ids.length ? of(i, row) : 0))),
    );
  return {
    input_ids: fill((i, { ids }) => ids[i]!),
    attention_mask: fill(() => 1),
    token_type_ids: fill((i, { query }) => +(i >= query)),
  };
}

const statesOf = async (model: Model, value: string, row: (typeof ROWS)[number]): Promise<number[][]> => {
  const graph = { ...model.graph, outputs: [{ name: value }] };
  const found = await runOnce({ ...model, graph }, { input_ids: int64s(row.ids) && feedsOf([row]).input_ids });
  const flat = numbers(found[value]!);
  return row.ids.map((_, t) => flat.slice(t * WIDTH, (t + 1) * WIDTH));
};

/** The features in plain loops. */
function plainFeatures(states: readonly number[][], query: number): number[] {
  const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
  const cosine = (a: readonly number[], b: readonly number[]) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  const [asked, passage] = [states.slice(0, query), states.slice(query)];
  const sum = (list: readonly number[][], weights: readonly number[]) =>
    Array.from({ length: WIDTH }, (_, c) => list.reduce((total, x, i) => total + x[c]! * weights[i]!, 0));
  const best = asked.map((q) => Math.max(...passage.map((p) => cosine(q, p))));
  const count = asked.map((q) => Math.log1p(passage.reduce((n, p) => n + Math.exp(8 * (cosine(q, p) - 1)), 0)));
  const mean = (list: readonly number[][]) =>
    sum(
      list,
      list.map(() => 1 / list.length),
    );
  const product = mean(passage).map((x, c) => x * mean(asked)[c]!);
  return [...sum(asked, best), ...sum(asked, count), ...mean(passage), ...product];
}

describe('an early score', () => {
  it('is cut where all paths from the token ids meet, as late as its share allows', async () => {
    const model = tinyEncoder();
    const first = await findCut(model, 0, 'tiny');
    expect(first.share).toBe(0);
    const later = await findCut(model, 0.99, 'tiny');
    expect(later.share).toBeGreaterThan(0.5);
    expect(later.value).not.toBe(first.value);
    const names = model.graph.nodes.flatMap(({ outputs }) => outputs);
    expect(names.indexOf(later.value)).toBeGreaterThan(names.indexOf(first.value));
  });

  it('has features that follow the formulas, for each row alone and beside a longer one', async () => {
    const model = tinyEncoder();
    for (const share of [0, 0.99]) {
      const { value } = await findCut(model, share, 'tiny');
      const graph = await earlyFeatures(model, value);
      const [output] = graph.graph.outputs;
      for (const row of ROWS) {
        const expected = plainFeatures(await statesOf(model, value, row), row.query);
        const found = numbers((await runOnce(graph, feedsOf([row])))[output!.name]!);
        expect(found).toHaveLength(expected.length);
        for (const [i, x] of found.entries()) expect(x).toBeCloseTo(expected[i]!, 4);
      }
      if (share > 0) continue;
      const both = numbers((await runOnce(graph, feedsOf(ROWS)))[output!.name]!);
      const alone = numbers((await runOnce(graph, feedsOf([ROWS[1]])))[output!.name]!);
      for (const [i, x] of alone.entries()) expect(both[alone.length + i]!).toBeCloseTo(x, 5);
    }
  });

  it('is the weighted sum of the features, from a part of the graph that holds no other weights', async () => {
    const model = await narrowModel(tinyEncoder());
    const { value } = await findCut(model, 0, 'tiny');
    const weights = Float32Array.from({ length: 4 * WIDTH }, (_, i) => Math.sin(i));
    const graph = await earlyScorer(model, { value, weights });
    expect(graph.graph.initializers.size).toBeLessThan(model.graph.initializers.size);
    const features = await earlyFeatures(model, value);
    const rows = numbers((await runOnce(features, feedsOf(ROWS)))[features.graph.outputs[0]!.name]!);
    const found = numbers((await runOnce(graph, feedsOf(ROWS)))[graph.graph.outputs[0]!.name]!);
    for (const [r, score] of found.entries()) {
      const row = rows.slice(r * weights.length, (r + 1) * weights.length);
      expect(score).toBeCloseTo(
        row.reduce((sum, x, i) => sum + x * weights[i]!, 0),
        4,
      );
    }
  });

  it('is refused where the graph lacks the value', async () => {
    const weights = new Float32Array(4 * WIDTH);
    await expect(earlyScorer(tinyEncoder(), { value: 'states', weights })).rejects.toThrow(
      /early score: expected a value states, got none/,
    );
  });
});
