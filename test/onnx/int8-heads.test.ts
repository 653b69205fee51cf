import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import type { Model } from '../../src/onnx/graph.ts';
import { probeShapes } from '../../src/onnx/probe.ts';
import { splitOf, turnHeads } from '../../src/onnx/rewrites/int8-heads.ts';
import { Matcher } from '../../src/onnx/rewrites/matcher.ts';
import { runOnce } from '../../src/onnx/runner.ts';
import { float32, numbers, tensor } from '../../src/onnx/tensor.ts';

const [HEADS, SIZE] = [2, 4];
const CHANNELS = HEADS * SIZE;

interface Form {
  /** Order of axes of the split values. */
  readonly perm: readonly number[];
  /** Whether a second node reads the merged output. */
  readonly isShared?: boolean;
}

/** Weights times values split into heads; the merged output in 8 bits. */
function attention({ perm, isShared = false }: Form): Model {
  const g = new GraphBuilder('attention');
  const weights = g.input('weights', 'float32', ['batch', HEADS, 'length', 'length'], [3, HEADS, 7, 7]);
  const values = g.input('values', 'float32', ['batch', 'length', CHANNELS]);
  const split = g.transpose(g.reshape(values, [0, 0, HEADS, SIZE]), perm);
  const product = g.matmul(weights, split);
  const merged = g.reshape(g.transpose(product, [0, 2, 1, 3]), [0, 0, CHANNELS]);
  const bytes = g.op('QuantizeLinear', [merged, g.scalar(0.25), g.constant(tensor('uint8', [], [100]))]);
  g.output(bytes, 'uint8', ['batch', 'length', CHANNELS], 'bytes');
  if (isShared) g.output(g.neg(merged), 'float32', ['batch', 'length', CHANNELS], 'negated');
  return modelOf(g.build());
}

const perms = ({ graph }: Model) =>
  graph.nodes.flatMap(({ op, attrs }) =>
    op === 'Transpose' && attrs.perm?.kind === 'ints' ? [attrs.perm.value.join()] : [],
  );

const turned = async (model: Model): Promise<Model> => ({
  ...model,
  graph: turnHeads(model.graph, await probeShapes(model)),
});

const SWAP = { perm: [0, 2, 1, 3] };

describe('turnHeads', () => {
  it('gives the same bits by turns of matrices alone', async () => {
    const model = attention(SWAP);
    const rewritten = await turned(model);
    expect(perms(rewritten)).toEqual(['0,2,1', '0,1,3,2', '0,2,1']);
    const number = fc.double({ min: -3, max: 3, noNaN: true }).map(Math.fround);
    const length = fc.integer({ min: 1, max: 5 });
    const sizes = fc.tuple(fc.integer({ min: 1, max: 3 }), length);
    const cases = sizes.chain(([batch, positions]) => {
      const count = (n: number) => fc.array(number, { minLength: n, maxLength: n });
      const [weights, values] = [batch * HEADS * positions ** 2, batch * positions * CHANNELS];
      return fc.tuple(fc.constant([batch, positions] as const), count(weights), count(values));
    });
    await fc.assert(
      fc.asyncProperty(cases, async ([[batch, positions], weights, values]) => {
        const feeds = {
          weights: float32([batch, HEADS, positions, positions], weights),
          values: float32([batch, positions, CHANNELS], values),
        };
        const [before, after] = [await runOnce(model, feeds), await runOnce(rewritten, feeds)];
        expect(after.bytes!.dims).toEqual(before.bytes!.dims);
        expect(numbers(after.bytes!)).toEqual(numbers(before.bytes!));
      }),
      { numRuns: 30 },
    );
  });

  it('leaves a merge whose floats are read elsewhere', async () => {
    expect(perms(await turned(attention({ ...SWAP, isShared: true })))).toEqual(['0,2,1', '0,2,1,3']);
  });
});

describe('splitOf', () => {
  /** A Reshape to `dims` and Transposes. */
  const split = async (dims: readonly number[], ...orders: readonly (readonly number[])[]) => {
    const g = new GraphBuilder('split');
    const values = g.input('values', 'float32', ['batch', 'length', CHANNELS]);
    const reshaped = g.reshape(values, dims);
    g.output(orders.reduce((value, order) => g.transpose(value, order), reshaped));
    const model = modelOf(g.build());
    return splitOf(new Matcher(model.graph, await probeShapes(model)), values, model.graph.nodes);
  };

  it('reads the order of positions and channels from all Transposes together', async () => {
    const heads = { heads: HEADS, size: SIZE };
    expect(await split([0, 0, HEADS, SIZE], [0, 2, 1, 3])).toEqual({ ...heads, turned: false });
    expect(await split([0, 0, HEADS, SIZE], [0, 2, 3, 1])).toEqual({ ...heads, turned: true });
    expect(await split([0, 0, HEADS, SIZE], [0, 2, 1, 3], [0, 1, 3, 2])).toEqual({ ...heads, turned: true });
  });

  it('refuses what does not split the last axis', async () => {
    expect(await split([0, HEADS, -1, SIZE], [0, 2, 1, 3])).toBeUndefined();
    expect(await split([0, 0, HEADS, SIZE], [0, 3, 1, 2])).toBeUndefined();
    expect(await split([0, 0, HEADS, SIZE])).toBeUndefined();
    expect(await split([0, -1], [1, 0])).toBeUndefined();
  });
});
