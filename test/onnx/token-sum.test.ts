import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tokenSum } from '../../src/onnx/architectures/pooling.ts';
import { GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import { openRunner } from '../../src/onnx/runner.ts';
import { float32, numbers } from '../../src/onnx/tensor.ts';
import { createRandom } from '../../src/util/random.ts';

const WIDTH = 24;

describe('the sum over tokens', () => {
  let runner: Awaited<ReturnType<typeof openRunner>>;
  beforeAll(async () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', ['batch', 'sequence', WIDTH]);
    g.output(tokenSum(g, 'x'), 'float32', ['batch', WIDTH], 'y');
    runner = await openRunner(modelOf(g.build()));
  });
  afterAll(() => runner.close());

  const sumOf = async (rows: number, tokens: number, values: Float32Array) =>
    [...numbers((await runner.run({ x: float32([rows, tokens, WIDTH], values) })).y!)].slice(0, WIDTH);

  it('adds from the first token to the last, in float32', async () => {
    const random = createRandom(3);
    const values = Float32Array.from({ length: 70 * WIDTH }, () => random.normal());
    const expected = Array.from({ length: WIDTH }, (_, i) => {
      let sum = 0;
      for (let t = 0; t < 70; t++) sum = Math.fround(sum + values[t * WIDTH + i]!);
      return sum;
    });
    expect(await sumOf(1, 70, values)).toEqual(expected);
  });

  it('has the same bits whatever padding and rows stand beside it', async () => {
    const sizes = fc.record({ tokens: fc.integer({ min: 1, max: 80 }), padding: fc.integer({ min: 0, max: 80 }) });
    await fc.assert(
      fc.asyncProperty(sizes, fc.integer({ min: 1, max: 3 }), fc.integer(), async ({ tokens, padding }, rows, seed) => {
        const random = createRandom(seed);
        const own = Float32Array.from({ length: tokens * WIDTH }, () => random.normal());
        const all = Float32Array.from({ length: rows * (tokens + padding) * WIDTH }, () => random.normal());
        all.set(own);
        all.fill(0, own.length, (tokens + padding) * WIDTH);
        expect(await sumOf(rows, tokens + padding, all)).toEqual(await sumOf(1, tokens, own));
      }),
      { numRuns: 60 },
    );
  });
});
