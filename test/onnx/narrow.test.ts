import { describe, expect, it } from 'vitest';
import { GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import type { Graph } from '../../src/onnx/graph.ts';
import { probeFeeds, probeShapes } from '../../src/onnx/probe.ts';
import { narrow, narrowModel } from '../../src/onnx/rewrites/narrow.ts';
import { type Feeds, runOnce } from '../../src/onnx/runner.ts';
import { float32, numbers } from '../../src/onnx/tensor.ts';
import { tinyEncoder } from '../support/tiny-encoder.ts';

type G = GraphBuilder;

const WIDTH = 4;
const wave = (dims: readonly number[], phase = 0) =>
  float32(
    dims,
    Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => 1.7 * Math.sin(1.3 * i + phase)),
  );

/** x [rows, length, 4] and scores [rows, length, length]. */
const feedsOf = (rows: number, length: number): Feeds => ({
  x: wave([rows, length, WIDTH]),
  square: wave([rows, length, length], 1),
});
const PROBE = feedsOf(3, 7);

function graphOf(build: (g: G, x: string, square: string) => readonly string[]): Graph {
  const g = new GraphBuilder();
  const x = g.input('x', 'float32', ['rows', 'length', WIDTH]);
  const square = g.input('square', 'float32', ['rows', 'length', 'length']);
  for (const [i, value] of build(g, x, square).entries()) g.output(value, undefined, undefined, `y${i}`);
  return g.build();
}

async function narrowed(graph: Graph): Promise<Graph> {
  return narrow(graph, await probeShapes(modelOf(graph), PROBE));
}

/** Runs both graphs on batches of other sizes than the probing one, and of one row. */
async function expectSame(before: Graph, after: Graph): Promise<void> {
  for (const feeds of [feedsOf(2, 5), feedsOf(1, 9), feedsOf(4, 2)]) {
    const [whole, part] = [await runOnce(modelOf(before), feeds), await runOnce(modelOf(after), feeds)];
    for (const [name, value] of Object.entries(whole)) {
      expect(part[name]!.dims).toEqual(value.dims);
      for (const [i, v] of numbers(value).entries()) expect(numbers(part[name]!)[i]).toBeCloseTo(v, 5);
    }
  }
}

const weight = (g: G, dims: readonly number[]) => g.constant(wave(dims, 2));
/** Four axes: rows, length, 2 heads, 2. */
const heads = (g: G, x: string) => g.reshape(x, [0, 0, 2, 2]);

type Step = [name: string, build: (g: G, x: string, square: string) => string, axis?: number];

/** By name: a value made by the op, and the axis of its length. */
const STEPS: readonly Step[] = [
  ['a unary op', (g, x) => g.op('Tanh', [x])],
  ['the sum with a vector', (g, x) => g.add(x, weight(g, [WIDTH]))],
  ['a sum of lower rank', (g, x) => g.mul(x, g.reduceMean(x, [0], false))],
  ['a choice by a mask', (g, x) => g.where(g.greater(x, g.scalar(0)), x, g.scalar(-1))],
  ['a linear layer', (g, x) => g.matmul(x, weight(g, [WIDTH, 3]))],
  ['rows of a square', (g, x, square) => g.matmul(g.softmax(square), x)],
  ['heads of a product', (g, x) => g.matmul(heads(g, x), g.transpose(heads(g, x), [0, 1, 3, 2]))],
  ['softmax', (g, _x, square) => g.softmax(square)],
  ['normalization', (g, x) => g.op('LayerNormalization', [x, weight(g, [WIDTH])], { axis: -1, epsilon: 1e-5 })],
  ['a mean', (g, x) => g.reduceMean(x, [-1])],
  ['a sum without its axis', (g, x) => g.reduceSum(g.transpose(x, [2, 0, 1]), [0], false)],
  ['another order of axes', (g, x) => g.transpose(heads(g, x), [0, 2, 1, 3]), 2],
  ['heads, shape from a constant', (g, x) => heads(g, x)],
  [
    'heads, shape from Shape',
    (g, x) => g.reshape(x, g.concat([g.slice(g.shape(x), [0], [2], [0]), g.ints([2, -1])], 0)),
  ],
  [
    'rows and heads in one axis',
    (g, x) =>
      g.reshape(
        g.transpose(heads(g, x), [0, 2, 1, 3]),
        g.concat([g.ints([-1]), g.slice(g.shape(x), [1], [2], [0]), g.ints([2])], 0),
      ),
  ],
  ['a new axis', (g, x) => g.unsqueeze(g.op('Neg', [x]), [1]), 2],
  ['an axis less', (g, x) => g.squeeze(g.unsqueeze(g.op('Neg', [x]), [1]), [1])],
  ['parts joined', (g, x) => g.concat([x, g.neg(x)], -1)],
  ['part of the width', (g, x) => g.slice(g.neg(x), [1], [3], [2])],
  [
    'parts of the width',
    (g, x) => g.mul(...(g.ops('Split', [g.neg(x)], { axis: 2, num_outputs: 2 }, 2) as [string, string])),
  ],
  [
    'look-ups in a row',
    (g, _x, square) =>
      g.op('GatherElements', [g.neg(square), g.cast(g.greater(square, g.scalar(0)), 'int64')], { axis: 2 }),
  ],
];

describe('narrow', () => {
  describe.each([0, 1, -1])('position %i', (index) => {
    it.each(STEPS)('%s', async (_, step, axis = 1) => {
      const graph = graphOf((g, x, square) => [
        g.gather(g.op('Erf', [step(g, x, square)]), g.scalar(index, 'int64'), axis),
      ]);
      const after = await narrowed(graph);
      await expectSame(graph, after);
      const value = after.nodes.find((n) => n.op === 'Erf')!.inputs[0]!;
      const whole = (await probeShapes(modelOf(graph), PROBE)).get(value)!.dims;
      expect(whole[axis]).toBe(7);
      expect((await probeShapes(modelOf(after), PROBE)).get(value)!.dims).toEqual(whole.with(axis, 1));
    });
  });

  it('takes a slice of length one as well, and keeps its axis', async () => {
    for (const [from, to] of [
      [0, 1],
      [2, 3],
      [-1, Number.MAX_SAFE_INTEGER],
    ] as const) {
      const graph = graphOf((g, x) => [g.slice(g.op('Erf', [g.neg(x)]), [from], [to], [1])]);
      const after = await narrowed(graph);
      expect(after).not.toBe(graph);
      await runOnce(modelOf(after), feedsOf(2, 5)).then(({ y0 }) => expect(y0!.dims).toEqual([2, 1, WIDTH]));
      const [a, b] = [await runOnce(modelOf(graph), feedsOf(2, 5)), await runOnce(modelOf(after), feedsOf(2, 5))];
      expect(numbers(b.y0!)).toEqual(numbers(a.y0!));
    }
  });

  it('shapes that are read keep their values', async () => {
    const graph = graphOf((g, x) => {
      const value = g.op('Erf', [g.neg(x)]);
      return [g.gather(value, g.scalar(0, 'int64'), 1), g.shape(value)];
    });
    const after = await narrowed(graph);
    expect(after).not.toBe(graph);
    await expectSame(graph, after);
  });

  const first = (g: G, value: string, at = 0) => g.gather(value, g.scalar(at, 'int64'), 1);
  const WHOLE: readonly (readonly [string, (g: G, x: string, square: string) => readonly string[]])[] = [
    ['another reader takes all', (g, x) => ((v) => [first(g, v), g.reduceMean(v, [1])])(g.neg(x))],
    ['two readers take different positions', (g, x) => ((v) => [first(g, v), first(g, v, 1)])(g.neg(x))],
    ['the value is an output', (g, x) => ((v) => [first(g, v), v])(g.neg(x))],
    ['positions are mixed', (g, x) => [first(g, g.softmax(x, 1))]],
    ['several positions are taken', (g, x) => [g.gather(g.neg(x), g.ints([0, 1]), 1)]],
    ['the position is computed', (g, x) => [g.gather(g.neg(x), g.cast(g.reduceMax(x, [0, 1, 2], false), 'int64'), 1)]],
    ['the op is not known', (g, x) => [first(g, g.op('CumSum', [x, g.scalar(1, 'int64')]))]],
  ];

  it.each(WHOLE)('changes nothing where %s', async (_, build) => {
    const graph = graphOf((g, x, square) => build(g, x, square));
    expect(await narrowed(graph)).toBe(graph);
  });

  it('one layer under a head on the first token: all but keys and values for that token alone', async () => {
    const model = tinyEncoder();
    const after = await narrowModel(model);
    const shapes = await probeShapes(after);
    const products = after.graph.nodes.filter((n) => n.op === 'MatMul').map((n) => shapes.get(n.outputs[0]!)!.dims);
    const tokens = products.filter((dims) => dims[1] === 7);
    expect(tokens).toEqual([
      [3, 7, 8],
      [3, 7, 8],
    ]);
    const feeds = probeFeeds(model.graph.inputs, 5, 6);
    const [a, b] = [await runOnce(model, feeds), await runOnce(after, feeds)];
    for (const [i, v] of numbers(a.logits!).entries()) expect(numbers(b.logits!)[i]).toBeCloseTo(v, 6);
    expect(await narrowModel(after)).toBe(after);
  });
});
