import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import { orderSums } from '../../src/onnx/rewrites/ordered-sums.ts';
import { openRunner } from '../../src/onnx/runner.ts';
import { float32, numbers } from '../../src/onnx/tensor.ts';
import { createRandom } from '../../src/util/random.ts';

const HEADS = 2;

/** Attention [rows, heads, length, length] of one row of `tokens` tokens, then of others; keys and queries of padding are 0. */
function attention(tokens: number, length: number, rows: number, seed: number): Float32Array {
  const random = createRandom(seed);
  const own = Float32Array.from({ length: HEADS * tokens * tokens }, () => random.normal() ** 2);
  const all = Float32Array.from({ length: rows * HEADS * length * length }, () => random.normal());
  all.fill(0, 0, HEADS * length * length);
  for (let h = 0; h < HEADS; h++)
    for (let q = 0; q < tokens; q++)
      all.set(own.subarray((h * tokens + q) * tokens, (h * tokens + q + 1) * tokens), (h * length + q) * length);
  return all;
}

describe('sums over the keys of attention', () => {
  let runner: Awaited<ReturnType<typeof openRunner>>;
  beforeAll(async () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', ['batch', HEADS, 'length', 'length']);
    g.output(g.reduceSum('x', [-1]), 'float32', ['batch', HEADS, 'length', 1], 'y');
    const shapes = new Map([['x', { dtype: 'float32' as const, dims: [2, HEADS, 5, 5] }]]);
    const ordered = orderSums(g.build(), shapes);
    expect(ordered.nodes.map(({ op }) => op)).not.toContain('ReduceSum');
    runner = await openRunner(modelOf(ordered));
  });
  afterAll(() => runner.close());

  const sumsOf = async (tokens: number, length: number, rows: number, seed: number): Promise<number[]> => {
    const { y } = await runner.run({
      x: float32([rows, HEADS, length, length], attention(tokens, length, rows, seed)),
    });
    const sums = numbers(y!);
    return Array.from({ length: HEADS * tokens }, (_, i) => sums[Math.floor(i / tokens) * length + (i % tokens)]!);
  };

  it('are those of float64 to the rounding of float32', async () => {
    const values = attention(40, 40, 1, 7);
    const expected = Array.from({ length: HEADS * 40 }, (_, i) =>
      values.subarray(i * 40, (i + 1) * 40).reduce((a, b) => a + b, 0),
    );
    const got = await sumsOf(40, 40, 1, 7);
    got.forEach((x, i) => {
      expect(Math.abs(x - expected[i]!) / expected[i]!).toBeLessThan(1e-6);
    });
  });

  it('have the same bits whatever padding and rows stand beside them', async () => {
    const sizes = fc.record({ tokens: fc.integer({ min: 1, max: 90 }), padding: fc.integer({ min: 0, max: 60 }) });
    await fc.assert(
      fc.asyncProperty(sizes, fc.integer({ min: 1, max: 3 }), fc.integer(), async ({ tokens, padding }, rows, seed) => {
        expect(await sumsOf(tokens, tokens + padding, rows, seed)).toEqual(await sumsOf(tokens, tokens, 1, seed));
      }),
      { numRuns: 60 },
    );
  });
});
