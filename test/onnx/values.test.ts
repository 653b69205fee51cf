import { describe, expect, it } from 'vitest';
import { GraphBuilder, modelOf } from '../../src/onnx/builder.ts';
import { runOnce } from '../../src/onnx/runner.ts';
import {
  castTensor,
  float32,
  float32View,
  int64s,
  numbers,
  tensor,
  tensorOf,
  transposeTensor,
  view,
} from '../../src/onnx/tensor.ts';

describe('tensors', () => {
  it('rounds to the given type', () => {
    expect(numbers(tensor('float16', [2], [1 / 3, 65504]))).toEqual([0.333251953125, 65504]);
    expect(numbers(tensor('bfloat16', [3], [1 / 3, -1.00390625, Number.NaN]))).toEqual([0.333984375, -1, Number.NaN]);
    expect(numbers(castTensor(float32([2], [0.1, 2]), 'float64'))).toEqual([Math.fround(0.1), 2]);
  });

  it('saturates at 64 bits instead of wrapping', () => {
    const data = view(tensor('int64', [3], [2 ** 63, -(2 ** 63), Number.MAX_SAFE_INTEGER])) as BigInt64Array;
    expect([...data]).toEqual([9223372036854775807n, -9223372036854775808n, 9007199254740991n]);
  });

  it('reads bytes that are not aligned', () => {
    const bytes = new Uint8Array(13);
    new DataView(bytes.buffer).setFloat32(1, 1.5, true);
    new DataView(bytes.buffer).setFloat32(5, -2.25, true);
    const t = { dtype: 'float32', dims: [2], bytes: bytes.subarray(1, 9) } as const;
    expect(Array.from(float32View(t))).toEqual([1.5, -2.25]);
    // A Buffer's own slice would share memory: the view must come from a copy.
    expect(
      Array.from(float32View({ ...t, bytes: Buffer.from(bytes.buffer, 1, 8) as Uint8Array<ArrayBuffer> })),
    ).toEqual([1.5, -2.25]);
  });

  it('transposes matrices of any type', () => {
    expect(numbers(transposeTensor(float32([2, 3], [1, 2, 3, 4, 5, 6])))).toEqual([1, 4, 2, 5, 3, 6]);
    expect(transposeTensor(tensor('int64', [1, 2], [7, 8])).dims).toEqual([2, 1]);
  });
});

describe('GraphBuilder', () => {
  it('gives every value and node a unique name', () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', [2]);
    const names = [
      g.add('x', 'x'),
      g.add('x', 'x'),
      g.op('Neg', ['x'], {}, { name: 'part' }),
      g.op('Neg', ['x'], {}, { name: 'part' }),
    ];
    expect(new Set(names).size).toBe(4);
    const nodes = g.build().nodes.map((n) => n.name);
    expect(new Set(nodes).size).toBe(nodes.length);
    expect(() => g.input('x', 'float32', [2])).toThrow('expected a new value name, got x');
  });

  it('continues a graph without reusing its names', async () => {
    const first = new GraphBuilder();
    first.input('x', 'float32', [2]);
    first.output(first.neg(first.neg('x')), 'float32', [2], 'y');
    const second = GraphBuilder.from(first.build());
    second.output(second.neg(second.neg('y')), 'float32', [2], 'z');
    const results = await runOnce(modelOf(second.build()), { x: float32([2], [1, -2]) });
    expect(numbers(results.z!)).toEqual([1, -2]);
    expect(first.build().nodes.length).toBe(3);
  });

  it('keeps equal constants once, of each type and shape', () => {
    const g = new GraphBuilder();
    expect(g.scalar(2)).toBe(g.scalar(2));
    expect(g.ints([1, 2])).toBe(g.ints([1, 2]));
    expect(new Set([g.scalar(0), g.scalar(0, 'int64'), g.scalar(0, 'float64'), g.ints([0])]).size).toBe(4);
    expect(g.scalar(0)).not.toBe(g.scalar(-0));
  });

  it('freezes what it builds', () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', [1]);
    g.output(g.neg('x'), 'float32', [1]);
    const graph = g.build();
    expect(Object.isFrozen(graph) && Object.isFrozen(graph.nodes) && Object.isFrozen(graph.nodes[0]!.inputs)).toBe(
      true,
    );
  });

  it('makes attributes float by name, also for integers', async () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', [1]);
    g.output(g.op('LeakyRelu', ['x'], { alpha: 1 }), 'float32', [1], 'y');
    expect(numbers((await runOnce(modelOf(g.build()), { x: float32([1], [-3]) })).y!)).toEqual([-3]);
  });

  it.each(['float32', 'float64'] as const)('multiplies transposed and scaled matrices in %s', async (dtype) => {
    const g = new GraphBuilder();
    g.input('a', dtype, [3, 2]);
    g.input('b', dtype, [4, 3]);
    g.output(g.matmul('a', 'b', { transA: true, transB: true, alpha: 2, dtype }), dtype, [2, 4], 'y');
    const a = castTensor(float32([3, 2], [1, 2, 3, 4, 5, 6]), dtype);
    const b = castTensor(float32([4, 3], [1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1]), dtype);
    const y = (await runOnce(modelOf(g.build()), { a, b })).y!;
    expect(numbers(y)).toEqual([2, 6, 10, 18, 4, 8, 12, 24]);
  });

  it('slices, reduces and reshapes as written', async () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', [2, 3]);
    const sum = g.reduceSum(g.slice('x', [1], [3], [1]), [1], false);
    g.output(
      g.reshape(g.concat([sum, g.reduceMax(g.reshape('x', [-1]), [0], true)], 0), g.ints([3, 1])),
      'float32',
      [3, 1],
      'y',
    );
    const { y } = await runOnce(modelOf(g.build()), { x: float32([2, 3], [1, 2, 3, 4, 5, 6]) });
    expect(y!.dims).toEqual([3, 1]);
    expect(numbers(y!)).toEqual([5, 11, 6]);
    expect(int64s([1, 2]).dims).toEqual([2]);
    expect(tensorOf('float32', [1], new Float32Array([1])).bytes.byteLength).toBe(4);
  });
});
