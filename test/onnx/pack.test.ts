import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { differentiate } from '../../src/autodiff/differentiate.ts';
import { GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import type { Graph } from '../../src/onnx/graph.ts';
import { probeShapes } from '../../src/onnx/probe.ts';
import { type Inverses, packTokens } from '../../src/onnx/rewrites/pack.ts';
import { type Feeds, runOnce } from '../../src/onnx/runner.ts';
import { float32, numbers, tensor } from '../../src/onnx/tensor.ts';

const WIDTH = 4;
const wave = (dims: readonly number[], phase = 0) =>
  float32(
    dims,
    Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => 1.7 * Math.sin(1.3 * i + phase)),
  );

/** A batch of rows of these lengths. */
function feedsOf(lengths: readonly number[]): Feeds {
  const longest = Math.max(...lengths);
  const mask = lengths.flatMap((length) => Array.from({ length: longest }, (_, i) => +(i < length)));
  return { x: wave([lengths.length, longest, WIDTH]), mask: tensor('int64', [lengths.length, longest], mask) };
}
const PROBE = feedsOf([7, 7, 5]);

/** Linear layers, attention in which padding is masked, a normalization, and the sum of the tokens' states. */
function layer(): Graph {
  const g = new GraphBuilder();
  const x = g.input('x', 'float32', ['rows', 'length', WIDTH]);
  const mask = g.input('mask', 'int64', ['rows', 'length']);
  const linear = (from: string, name: string) =>
    g.add(g.matmul(from, g.initializer(name, wave([WIDTH, WIDTH], 2))), g.constant(wave([WIDTH], 3)));
  const kept = g.cast(mask, 'float32');
  const away = g.unsqueeze(g.mul(g.sub(g.scalar(1), kept), g.scalar(-1e9)), [1]);
  const scores = g.matmul(linear(x, 'query'), g.transpose(linear(x, 'key'), [0, 2, 1]));
  const mixed = g.matmul(g.softmax(g.add(scores, away)), linear(x, 'value'));
  const sum = g.add(linear(mixed, 'out'), x);
  const scale = g.constant(wave([WIDTH], 5));
  const normed = g.op('LayerNormalization', [sum, scale], { axis: -1, epsilon: 1e-6 });
  const states = g.op('Gelu', [linear(normed, 'last')], { approximate: 'none' });
  const total = g.reduceSum(g.mul(states, g.unsqueeze(kept, [2])), [1], false);
  g.output(g.reduceSum(g.op('Tanh', [total]), [0, 1], false), 'float32', [], 'y');
  return g.build();
}

const WEIGHTS = ['query', 'key', 'value', 'out', 'last', 'x'];

/** Value and gradients of a graph. */
async function derive(graph: Graph, feeds: Feeds, inverses?: Inverses): Promise<Map<string, readonly number[]>> {
  const shapes = await probeShapes(modelOf(graph), PROBE);
  const { graph: both, gradients } = differentiate(graph, {
    of: 'y',
    wrt: WEIGHTS,
    shapes,
    ...(inverses && { inverses }),
  });
  const g = GraphBuilder.from(both);
  for (const [name, value] of gradients) g.output(value, 'float32', undefined, `d ${name}`);
  return new Map(Object.entries(await runOnce(modelOf(g.build()), feeds)).map(([name, t]) => [name, numbers(t)]));
}

async function packed(graph: Graph) {
  return packTokens(graph, await probeShapes(modelOf(graph), PROBE), 'mask');
}

describe('packTokens', () => {
  it('changes neither the value nor the gradients, for rows of any length', async () => {
    const graph = layer();
    const { graph: small, inverses } = await packed(graph);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 4 }), async (lengths) => {
        const feeds = feedsOf(lengths);
        const [plain, short] = [await derive(graph, feeds), await derive(small, feeds, inverses)];
        expect([...short.keys()]).toEqual([...plain.keys()]);
        for (const [name, values] of plain)
          for (const [i, value] of values.entries()) expect(short.get(name)![i]).toBeCloseTo(value, 4);
      }),
      { numRuns: 20 },
    );
  });

  it('runs linear layers, normalizations and activations on tokens alone, and products with a mask on all places', async () => {
    const { graph } = await packed(layer());
    const shapes = await probeShapes(modelOf(graph), PROBE);
    const sizes = (op: string) =>
      graph.nodes.filter((n) => n.op === op).map(({ outputs }) => shapes.get(outputs[0]!)!.dims.join('×'));
    const tokens = `1×19×${WIDTH}`;
    expect(sizes('MatMul').filter((size) => size === tokens).length).toBe(5);
    expect(sizes('LayerNormalization')).toEqual([tokens]);
    expect(sizes('Gelu')).toEqual([tokens]);
    expect(sizes('Mul')).toContain(`3×7×${WIDTH}`);
  });

  it('leaves a graph alone that has no states of tokens', async () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', ['rows', 'length', WIDTH]);
    g.input('mask', 'int64', ['rows', 'length']);
    const mean = g.reduceMean('x', [1], false);
    g.output(g.matmul(mean, g.constant(wave([WIDTH, 1]))), 'float32', ['rows', 1], 'y');
    const graph = g.build();
    const { graph: same, inverses } = await packed(graph);
    expect(same.nodes).toEqual(graph.nodes);
    expect(inverses.size).toBe(0);
  });
});
