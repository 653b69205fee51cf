import { describe, expect, it } from 'vitest';
import { differentiate } from '../../src/autodiff/differentiate.ts';
import { GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import type { Graph } from '../../src/onnx/graph.ts';
import { probeShapes } from '../../src/onnx/probe.ts';
import { type Feeds, runOnce } from '../../src/onnx/runner.ts';
import { float32, numbers, tensor } from '../../src/onnx/tensor.ts';
import { weightsToInputs } from '../../src/onnx/weights.ts';

async function gradients(graph: Graph, feeds: Feeds, of: string, wrt: readonly string[], upstream?: string) {
  const shapes = await probeShapes(modelOf(graph), feeds);
  const result = differentiate(graph, { of, wrt, shapes, ...(upstream && { upstream }) });
  const g = GraphBuilder.from(result.graph, { outputs: false });
  for (const value of result.gradients.values()) g.output(value);
  const results = await runOnce(modelOf(g.build()), feeds, { level: 'all' });
  const values = new Map([...result.gradients].map(([weight, value]) => [weight, numbers(results[value]!)]));
  return { values, added: result.graph.nodes.length - graph.nodes.length, ops: result.graph.nodes.map((n) => n.op) };
}

const x = float32([2, 2], [1, 2, 3, 4]);

describe('differentiate', () => {
  it('adds up the gradients of a weight with several readers, once', async () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', [2, 2]);
    g.initializer('w', float32([2, 2], [1, 0, 0, 1]));
    const once = g.matmul('x', 'w');
    const twice = g.matmul(once, 'w');
    const loss = g.output(g.reduceSum(g.add(twice, g.mul('x', 'w')), undefined, false), 'float32', []);
    // d/dw of Σ x w w at w = 1: xᵀ1wᵀ + (xw)ᵀ1, both [[4, 4], [6, 6]]; of Σ x∘w: x.
    const { values } = await gradients(g.build(), { x }, loss, ['w']);
    expect(values.get('w')).toEqual([9, 10, 15, 16]);
  });

  it('builds only what the wanted weights need', async () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', [2, 2]);
    g.initializer('first', float32([2, 2], [1, 2, 3, 4]));
    g.initializer('last', float32([2, 2], [1, 2, 3, 4]));
    const loss = g.output(
      g.reduceSum(g.matmul(g.op('Tanh', [g.matmul('x', 'first')]), 'last'), undefined, false),
      'float32',
      [],
    );
    const all = await gradients(g.build(), { x }, loss, ['first', 'last']);
    const last = await gradients(g.build(), { x }, loss, ['last']);
    expect([...last.values.keys()]).toEqual(['last']);
    expect(last.values.get('last')).toEqual(all.values.get('last'));
    expect(last.added).toBeLessThan(all.added / 1.5);
    expect(all.values.size).toBe(2);
  });

  it('takes the gradient of a value instead of a scalar loss', async () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', [2, 2]);
    g.input('dy', 'float32', [2, 2]);
    const y = g.output(g.mul('x', g.initializer('w', float32([2], [5, 7]))), 'float32', [2, 2]);
    const { values } = await gradients(g.build(), { x, dy: float32([2, 2], [1, 10, 100, 1000]) }, y, ['w', 'x'], 'dy');
    expect(values.get('w')).toEqual([301, 4020]);
    expect(values.get('x')).toEqual([5, 70, 500, 7000]);
  });

  it('does not differentiate integers, masks and shapes', async () => {
    const g = new GraphBuilder();
    g.input('ids', 'int64', [1, 3]);
    g.initializer('table', float32([4, 2], [1, 2, 3, 4, 5, 6, 7, 8]));
    const states = g.gather('table', 'ids');
    const size = g.cast(g.squeeze(g.slice(g.shape(states), [2], [3], [0]), [0]), 'float32');
    const open = g.greater(states, g.scalar(3));
    const loss = g.output(
      g.reduceSum(g.where(open, g.div(states, g.sqrt(size)), g.scalar(0)), undefined, false),
      'float32',
      [],
    );
    const ids = tensor('int64', [1, 3], [0, 3, 3]);
    const { values, ops } = await gradients(g.build(), { ids }, loss, ['table']);
    const s = Math.SQRT1_2;
    expect(values.get('table')!.map((v) => Math.round(v * 1e6) / 1e6)).toEqual(
      [0, 0, 0, 0, 0, 0, 2 * s, 2 * s].map((v) => Math.round(v * 1e6) / 1e6),
    );
    expect(ops.filter((op) => op === 'Sqrt')).toHaveLength(1);
  });

  it('leaves out weights the loss does not depend on', async () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', [2, 2]);
    g.initializer('used', float32([2], [1, 1]));
    g.initializer('unused', float32([2], [1, 1]));
    g.output(g.add('x', 'unused'), 'float32', [2, 2]);
    const loss = g.output(g.reduceSum(g.add('x', 'used'), undefined, false), 'float32', []);
    const { values } = await gradients(g.build(), { x }, loss, ['used', 'unused']);
    expect([...values.keys()]).toEqual(['used']);
  });

  it('works the same with weights as inputs', async () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', [2, 2]);
    const w = float32([2, 2], [1, 2, 3, 4]);
    g.initializer('w', w);
    const loss = g.output(g.reduceSum(g.op('Tanh', [g.matmul('x', 'w')]), undefined, false), 'float32', []);
    const inside = await gradients(g.build(), { x }, loss, ['w']);
    const outside = await gradients(weightsToInputs(g.build(), ['w']), { x, w }, loss, ['w']);
    expect(outside.values).toEqual(inside.values);
  });

  it('names op and node where no rule is known', async () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', [2, 2]);
    const y = g.op('Det', [g.mul('x', g.initializer('w', x))], {}, { name: 'encoder/determinant' });
    const graph = g.build();
    await expect(gradients(graph, { x }, y, ['w'])).rejects.toMatchObject({
      code: 'unsupported_op',
      message:
        'expected an op with a gradient rule, got Det (node encoder/determinant); freeze that part or use another backbone',
    });
  });

  it('names op and node where a rule does not cover the variant', async () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', [2, 2]);
    const y = g.op('Einsum', [g.mul('x', g.initializer('w', x))], { equation: 'ii->' }, { name: 'trace' });
    await expect(gradients(g.build(), { x }, y, ['w'])).rejects.toMatchObject({
      code: 'unsupported_op',
      message: expect.stringContaining('(node trace)'),
    });
  });

  it('refuses a loss that is not a scalar, naming it', async () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', [2, 2]);
    const y = g.output(g.mul('x', g.initializer('w', x)), 'float32', [2, 2], 'scores');
    await expect(gradients(g.build(), { x }, y, ['w'])).rejects.toMatchObject({
      code: 'invalid_graph',
      message: 'value scores: expected a scalar loss or an upstream gradient, got float32[2,2]',
    });
  });
});

describe('softmax of a row in which everything is masked', () => {
  /** Two rows of scores, the second fully masked by −∞; its NaN is replaced. */
  const build = (guarded: boolean): { graph: Graph; loss: string } => {
    const g = new GraphBuilder();
    g.input('x', 'float32', [2, 2]);
    const mask = g.constant(float32([2, 2], [0, 0, Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]));
    const y = g.softmax(g.add(g.mul('x', g.initializer('w', float32([2], [1, 2]))), mask));
    const zero = g.scalar(0);
    const clean = guarded
      ? g.where(g.op('IsNaN', [y]), zero, y)
      : g.where(g.constant(tensor('bool', [2, 1], [1, 0])), y, zero);
    const loss = g.output(g.reduceSum(g.mul(clean, g.constant(float32([2], [1, 3]))), undefined, false), 'float32', []);
    return { graph: g.build(), loss };
  };

  it.each([true, false])('gets no gradient and leaves others intact (guarded by IsNaN: %s)', async (guarded) => {
    const { graph, loss } = build(guarded);
    const { values } = await gradients(graph, { x }, loss, ['w']);
    // Row 1 alone: p = softmax(1, 4), dL/dz = p ∘ ((1, 3) − p·(1, 3)), dw = x ∘ dz.
    const p = 1 / (1 + Math.exp(3));
    const dz = [p * (1 - (p + 3 * (1 - p))), (1 - p) * (3 - (p + 3 * (1 - p)))];
    const got = values.get('w')!;
    expect(Math.abs(got[0]! - dz[0]!)).toBeLessThan(1e-6);
    expect(Math.abs(got[1]! - 2 * dz[1]!)).toBeLessThan(1e-6);
  });
});
