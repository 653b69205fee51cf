import { describe, expect, it } from 'vitest';
import { differentiate } from '../../src/autodiff/differentiate.ts';
import { GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import { probeShapes } from '../../src/onnx/probe.ts';
import { openRunner } from '../../src/onnx/runner.ts';
import { float32, numbers, type Tensor, tensor } from '../../src/onnx/tensor.ts';
import { createRandom } from '../../src/util/random.ts';

/*
 * Gradients of lookups with many repetitions on two threads, fifty runs, compared exactly. Upstream gradients are small integers, so that every
 * order of additions gives the same float32 sum, and a lost addition changes it.
 */

const RUNS = 50;

/** Builds y = look-up of `table`, and returns a function from upstream gradient to the table's gradient. */
async function backward(table: Tensor, indices: Tensor, build: (g: GraphBuilder) => string, dyDims: readonly number[]) {
  const g = new GraphBuilder();
  g.input('table', 'float32', table.dims);
  g.input(
    'indices',
    'int64',
    indices.dims.map((_, i) => `n${i}`),
  );
  g.input(
    'dy',
    'float32',
    dyDims.map((_, i) => `d${i}`),
  );
  const y = build(g);
  const graph = g.build();
  const shapes = await probeShapes(modelOf(graph), {
    table,
    indices,
    dy: float32(dyDims, new Float32Array(dyDims.reduce((a, b) => a * b, 1))),
  });
  const result = differentiate(graph, { of: y, upstream: 'dy', wrt: ['table'], shapes });
  const out = GraphBuilder.from(result.graph, { outputs: false });
  const gradient = out.output(result.gradients.get('table')!);
  const runner = await openRunner(modelOf(out.build()), { threads: 2, level: 'all' });
  return {
    nodes: result.graph.nodes.map((n) => n.op),
    run: async (dy: Tensor, at: Tensor = indices) => (await runner.run({ table, indices: at, dy }))[gradient]!,
    close: () => runner.close(),
  };
}

const wholeNumbers = (count: number, seed: number): Float32Array => {
  const random = createRandom(seed);
  return Float32Array.from({ length: count }, () => random.below(9) - 4);
};

/** Sums the rows of dy by index, in JavaScript. */
function summed(rows: number, width: number, indices: readonly number[], dy: Float32Array): Float32Array {
  const sums = new Float32Array(rows * width);
  for (const [token, index] of indices.entries()) {
    const row = index < 0 ? index + rows : index;
    for (let h = 0; h < width; h++) sums[row * width + h]! += dy[token * width + h]!;
  }
  return sums;
}

describe('gradients of look-ups with repeated indices', () => {
  it.each([
    { name: 'a small table', rows: 50, tokens: 4096, width: 96 },
    { name: 'a large table', rows: 5000, tokens: 4096, width: 96 },
    { name: 'a large table, few tokens', rows: 5000, tokens: 37, width: 8 },
    { name: 'a large table, one token', rows: 2000, tokens: 1, width: 8 },
    { name: 'a large table, tokens that fill chunks exactly', rows: 2000, tokens: 256, width: 8 },
  ])('$name: exact in fifty runs', async ({ rows, tokens, width }) => {
    const random = createRandom(tokens);
    // Half of the tokens share three ids, as padding and separators do; the rest are spread over the whole table.
    const ids = Array.from({ length: tokens }, (_, i) => (i % 2 === 0 ? random.below(3) : random.below(rows)));
    const indices = tensor('int64', [1, tokens], ids);
    const table = float32([rows, width], new Float32Array(rows * width));
    const { run, close, nodes } = await backward(table, indices, (g) => g.gather('table', 'indices'), [
      1,
      tokens,
      width,
    ]);
    expect(nodes).not.toContain('ScatterElements');
    const dy = wholeNumbers(tokens * width, 5);
    const expected = summed(rows, width, ids, dy);
    for (let i = 0; i < RUNS; i++) {
      const got = new Float32Array((await run(float32([1, tokens, width], dy))).bytes.slice().buffer);
      expect(Buffer.compare(Buffer.from(got.buffer), Buffer.from(expected.buffer)), `run ${i}`).toBe(0);
    }
    await close();
  });

  it('one session, batches of changing size, all tokens alike, ids counted from the end', async () => {
    const [rows, width] = [3000, 4];
    const table = float32([rows, width], new Float32Array(rows * width));
    const probe = tensor('int64', [2, 3], [1, 2, 3, 4, 5, 6]);
    const { run, close } = await backward(table, probe, (g) => g.gather('table', 'indices'), [2, 3, width]);
    for (const [batch, length] of [
      [1, 1],
      [2, 64],
      [3, 171],
      [4, 128],
      [5, 300],
    ] as const) {
      const ids = Array.from({ length: batch * length }, (_, i) =>
        batch === 2 ? 7 : batch === 3 ? -1 - (i % 5) : i % (batch * 100),
      );
      const dy = wholeNumbers(ids.length * width, batch);
      const got = await run(float32([batch, length, width], dy), tensor('int64', [batch, length], ids));
      expect(numbers(got)).toEqual(Array.from(summed(rows, width, ids, dy)));
    }
    await close();
  });

  it('GatherElements with one index for the whole batch: exact in fifty runs, without scatters', async () => {
    const [batch, length, buckets] = [24, 32, 16];
    const ids = Array.from({ length: length * length }, (_, i) =>
      Math.min(buckets - 1, Math.abs((i % length) - Math.floor(i / length))),
    );
    const table = float32([batch, length, buckets], new Float32Array(batch * length * buckets));
    const indices = tensor('int64', [length, length], ids);
    const build = (g: GraphBuilder) =>
      g.op('GatherElements', ['table', g.expand('indices', [batch, length, length])], { axis: -1 });
    const { run, close, nodes } = await backward(table, indices, build, [batch, length, length]);
    expect(nodes.filter((op) => op.startsWith('Scatter'))).toEqual([]);
    const dy = wholeNumbers(batch * length * length, 6);
    const expected = new Float32Array(table.bytes.byteLength / 4);
    for (const [at, value] of dy.entries()) {
      const [b, i, j] = [Math.floor(at / length ** 2), Math.floor(at / length) % length, at % length];
      expected[(b * length + i) * buckets + ids[i * length + j]!]! += value;
    }
    for (let i = 0; i < RUNS; i++)
      expect(numbers(await run(float32([batch, length, length], dy))), `run ${i}`).toEqual(Array.from(expected));
    await close();
  });
});
