import { describe, expect, it } from 'vitest';
import { MICROSOFT } from '../../../src/onnx/builder.ts';
import type { Tensor } from '../../../src/onnx/tensor.ts';
import { float32 } from '../../../src/onnx/tensor.ts';
import { RULES } from '../../../src/training/gradients/rules/index.ts';
import { checkRule, type Forward, ints, randomTensor } from '../../support/central-differences.ts';

/*
 * Every rule of the table against central differences in double precision, element by element.
 */

interface Case {
  readonly name: string;
  /** Ops of the table the case is there for. */
  readonly covers: readonly string[];
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly forward: Forward;
  readonly wrt: readonly string[];
}

const a = randomTensor([3, 4], 1);
const b = randomTensor([3, 4], 2);
const row = randomTensor([4], 3);
const column = randomTensor([3, 1], 4);
const positive = randomTensor([3, 4], 5, 0.3, 2);
const cube = randomTensor([2, 3, 4], 6);

const unary = (op: string, x: Tensor, attrs = {}, name = op): Case => ({
  name,
  covers: [op],
  inputs: { x },
  forward: (g) => g.op(op, ['x'], attrs),
  wrt: ['x'],
});

const binary = (op: string, x: Tensor, y: Tensor, name = op): Case => ({
  name,
  covers: [op],
  inputs: { x, y },
  forward: (g) => g.op(op, ['x', 'y']),
  wrt: ['x', 'y'],
});

const elementwise: readonly Case[] = [
  ...['Add', 'Sub', 'Mul'].flatMap((op) => [
    binary(op, a, b),
    binary(op, a, row, `${op}, a row broadcast`),
    binary(op, column, cube, `${op}, a column broadcast over a cube`),
  ]),
  binary('Div', a, positive),
  binary('Div', cube, randomTensor([3, 1], 7, 0.4, 2), 'Div, broadcast'),
  binary('Pow', positive, b),
  binary('Pow', positive, randomTensor([1], 8), 'Pow, exponent broadcast'),
  {
    name: 'Pow, square',
    covers: ['Pow'],
    inputs: { x: a },
    forward: (g) => g.op('Pow', ['x', g.scalar(2)]),
    wrt: ['x'],
  },
  {
    name: 'Pow, constant',
    covers: ['Pow'],
    inputs: { x: positive },
    forward: (g) => g.op('Pow', ['x', g.scalar(2.5)]),
    wrt: ['x'],
  },
  ...['Neg', 'Abs', 'Exp', 'Sin', 'Cos', 'Erf', 'Tanh', 'Sigmoid', 'Softplus', 'Relu', 'Identity'].map((op) =>
    unary(op, a),
  ),
  ...['Sqrt', 'Reciprocal', 'Log'].map((op) => unary(op, positive)),
  unary('Gelu', randomTensor([5, 4], 9, -4, 4), { approximate: 'none' }),
  unary('Gelu', randomTensor([5, 4], 9, -4, 4), { approximate: 'tanh' }, 'Gelu, tanh'),
  {
    name: 'Clip',
    covers: ['Clip'],
    inputs: { x: a },
    forward: (g) => g.op('Clip', ['x', g.scalar(-0.6), g.scalar(0.5)]),
    wrt: ['x'],
  },
  {
    name: 'Clip, one bound',
    covers: ['Clip'],
    inputs: { x: a },
    forward: (g) => g.op('Clip', ['x', '', g.scalar(0.5)]),
    wrt: ['x'],
  },
  binary('Max', a, row),
  binary('Min', a, column),
  {
    name: 'Max of three',
    covers: ['Max'],
    inputs: { x: a, y: b, z: row },
    forward: (g) => g.op('Max', ['x', 'y', 'z']),
    wrt: ['x', 'y', 'z'],
  },
  {
    name: 'Sum of three',
    covers: ['Sum'],
    inputs: { x: a, y: row, z: column },
    forward: (g) => g.op('Sum', ['x', 'y', 'z']),
    wrt: ['x', 'y', 'z'],
  },
  {
    name: 'Where',
    covers: ['Where'],
    inputs: { c: ints([3, 4], [1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1], 'bool'), x: row, y: column },
    forward: (g) => g.where('c', 'x', 'y'),
    wrt: ['x', 'y'],
  },
  { name: 'Cast', covers: ['Cast'], inputs: { x: a }, forward: (g) => g.cast('x', 'float32'), wrt: ['x'] },
  ...['Sign', 'Floor', 'Ceil', 'Round'].map(
    (op): Case => ({
      name: `${op} is flat`,
      covers: [op],
      inputs: { x: a },
      forward: (g) => g.add('x', g.op(op, ['x'])),
      wrt: ['x'],
    }),
  ),
];

const products: readonly Case[] = [
  binary('MatMul', a, randomTensor([4, 5], 11)),
  binary('MatMul', cube, randomTensor([4, 5], 12), 'MatMul, tokens by a matrix'),
  binary('MatMul', cube, randomTensor([2, 4, 5], 13), 'MatMul, batched'),
  binary('MatMul', randomTensor([2, 2, 3, 4], 14), randomTensor([2, 1, 4, 3], 15), 'MatMul, batch broadcast'),
  binary('MatMul', a, randomTensor([2, 4, 5], 16), 'MatMul, matrix by batch'),
  binary('MatMul', row, randomTensor([4, 5], 17), 'MatMul, vector by matrix'),
  binary('MatMul', a, row, 'MatMul, matrix by vector'),
  binary('MatMul', row, randomTensor([4], 18), 'MatMul, vector by vector'),
  binary('MatMul', cube, row, 'MatMul, batch by vector'),
  ...[0, 1].flatMap((transA) =>
    [0, 1].flatMap((transB) => [
      fused([3, 4], [4, 5], transA, transB),
      fused([2, 3, 4], [2, 4, 5], transA, transB),
      fused([2, 3, 4], [4, 5], transA, transB),
      gemm(transA, transB),
    ]),
  ),
  {
    name: 'Gemm without C',
    covers: ['Gemm'],
    inputs: { x: a, y: randomTensor([5, 4], 20) },
    forward: (g) => g.op('Gemm', ['x', 'y'], { transB: 1, alpha: 0.7 }),
    wrt: ['x', 'y'],
  },
  ...['bij,bjk->bik', 'bid,bjd->bij', 'bhid,jd->bhij'].map((equation): Case => {
    const sizes: Record<string, number> = { b: 2, i: 3, j: 4, k: 2, d: 3, h: 2 };
    const [left, right] = equation.split('->')[0]!.split(',') as [string, string];
    const dims = (term: string) => [...term].map((letter) => sizes[letter]!);
    return {
      name: `Einsum ${equation}`,
      covers: ['Einsum'],
      inputs: { x: randomTensor(dims(left), 21), y: randomTensor(dims(right), 22) },
      forward: (g) => g.op('Einsum', ['x', 'y'], { equation }),
      wrt: ['x', 'y'],
    };
  }),
];

function swapLast(dims: readonly number[]): number[] {
  return [...dims.slice(0, -2), dims.at(-1)!, dims.at(-2)!];
}

function fused(x: readonly number[], y: readonly number[], transA: number, transB: number): Case {
  return {
    name: `FusedMatMul ${x.length}-D by ${y.length}-D, transA ${transA}, transB ${transB}`,
    covers: [`${MICROSOFT}:FusedMatMul`],
    inputs: { x: randomTensor(transA ? swapLast(x) : x, 31), y: randomTensor(transB ? swapLast(y) : y, 32) },
    forward: (g) => g.op('FusedMatMul', ['x', 'y'], { transA, transB, alpha: 0.6 }, { domain: MICROSOFT }),
    wrt: ['x', 'y'],
  };
}

function gemm(transA: number, transB: number): Case {
  return {
    name: `Gemm, transA ${transA}, transB ${transB}`,
    covers: ['Gemm'],
    inputs: {
      x: randomTensor(transA ? [4, 3] : [3, 4], 33),
      y: randomTensor(transB ? [5, 4] : [4, 5], 34),
      z: randomTensor([5], 35),
    },
    forward: (g) => g.op('Gemm', ['x', 'y', 'z'], { transA, transB, alpha: 0.8, beta: 1.3 }),
    wrt: ['x', 'y', 'z'],
  };
}

const layerNorm = (name: string, axis: number, beta: boolean): Case => {
  const tail = axis === -1 ? [4] : [3, 4];
  const inputs = { x: cube, gamma: randomTensor(tail, 41, 0.5, 1.5), ...(beta && { beta: randomTensor(tail, 42) }) };
  return {
    name,
    covers: ['LayerNormalization'],
    inputs,
    forward: (g) => g.op('LayerNormalization', Object.keys(inputs), { axis, epsilon: 1e-3 }),
    wrt: Object.keys(inputs),
  };
};

const normalisations: readonly Case[] = [
  ...[-1, 1].flatMap((axis) => [
    unary('Softmax', cube, { axis }, `Softmax, axis ${axis}`),
    unary('LogSoftmax', cube, { axis }, `LogSoftmax, axis ${axis}`),
  ]),
  layerNorm('LayerNormalization', -1, true),
  layerNorm('LayerNormalization without bias', -1, false),
  layerNorm('LayerNormalization over two axes', 1, true),
];

const reductionOps = [
  'ReduceSum',
  'ReduceMean',
  'ReduceMax',
  'ReduceMin',
  'ReduceSumSquare',
  'ReduceL1',
  'ReduceL2',
  'ReduceLogSumExp',
];

const reductions: readonly Case[] = [
  ...reductionOps.flatMap((op) =>
    [
      { axes: [-1], keepdims: 1 },
      { axes: [1], keepdims: 0 },
      { axes: [0, 2], keepdims: 0 },
      { axes: undefined, keepdims: 0 },
    ].map(
      ({ axes, keepdims }): Case => ({
        name: `${op}, axes ${axes ?? 'all'}, keepdims ${keepdims}`,
        covers: [op],
        inputs: { x: cube },
        forward: (g) => g.op(op, axes ? ['x', g.ints(axes)] : ['x'], { keepdims }),
        wrt: ['x'],
      }),
    ),
  ),
  {
    name: 'ReduceSum of nothing',
    covers: ['ReduceSum'],
    inputs: { x: a },
    forward: (g) => g.op('ReduceSum', ['x'], { noop_with_empty_axes: 1 }),
    wrt: ['x'],
  },
  ...[0, 1].flatMap((reverse) =>
    [0, 1].map(
      (exclusive): Case => ({
        name: `CumSum, reverse ${reverse}, exclusive ${exclusive}`,
        covers: ['CumSum'],
        inputs: { x: cube },
        forward: (g) => g.op('CumSum', ['x', g.scalar(1, 'int64')], { reverse, exclusive }),
        wrt: ['x'],
      }),
    ),
  ),
];

const shaped = (name: string, op: string, forward: Forward, x: Tensor = cube): Case => ({
  name,
  covers: [op],
  inputs: { x },
  forward,
  wrt: ['x'],
});

const shapes: readonly Case[] = [
  shaped('Reshape', 'Reshape', (g) => g.reshape('x', [4, -1])),
  shaped('Flatten', 'Flatten', (g) => g.op('Flatten', ['x'], { axis: 2 })),
  shaped('Unsqueeze', 'Unsqueeze', (g) => g.unsqueeze('x', [0, 2])),
  shaped('Squeeze', 'Squeeze', (g) => g.squeeze('x', [1]), randomTensor([2, 1, 3], 51)),
  shaped('Transpose', 'Transpose', (g) => g.transpose('x', [2, 0, 1])),
  shaped('Transpose, reversed by default', 'Transpose', (g) => g.op('Transpose', ['x'])),
  shaped('Expand', 'Expand', (g) => g.expand('x', [2, 3, 4]), randomTensor([3, 1], 52)),
  shaped('Tile', 'Tile', (g) => g.op('Tile', ['x', g.ints([3, 1, 2])])),
  {
    name: 'Concat',
    covers: ['Concat'],
    inputs: { x: cube, y: randomTensor([2, 2, 4], 53) },
    forward: (g) => g.concat(['x', 'y', 'x'], 1),
    wrt: ['x', 'y'],
  },
  shaped('Split with sizes', 'Split', (g) => splitSum(g, ['x', g.ints([1, 3])], {})),
  shaped('Split in halves', 'Split', (g) => splitSum(g, ['x'], { num_outputs: 2 })),
  shaped('Split, one part unread', 'Split', (g) => g.ops('Split', ['x'], { axis: 2, num_outputs: 2 }, 2)[1]!),
  shaped('Slice', 'Slice', (g) => g.slice('x', [1, 0], [3, 2], [2, 1])),
  shaped('Slice from the end', 'Slice', (g) => g.slice('x', [-3], [Number.MAX_SAFE_INTEGER], [-1])),
  shaped('Slice past the end', 'Slice', (g) => g.slice('x', [1], [99], [0])),
  shaped('Slice, computed start', 'Slice', (g) => {
    const half = g.div(g.slice(g.shape('x'), [2], [3], [0]), g.ints([2]));
    return g.op('Slice', ['x', half, g.ints([Number.MAX_SAFE_INTEGER]), g.ints([2])]);
  }),
  shaped('Slice by steps', 'Slice', (g) =>
    g.op('Slice', ['x', g.ints([0, 3]), g.ints([2, -99]), g.ints([0, 2]), g.ints([1, -2])]),
  ),
  shaped('Pad', 'Pad', (g) => g.op('Pad', ['x', g.ints([0, 1, 0, 1, 0, 2])])),
  shaped('Pad of one axis', 'Pad', (g) => g.op('Pad', ['x', g.ints([1, 2]), g.scalar(3), g.ints([-1])])),
  shaped('Trilu', 'Trilu', (g) => g.op('Trilu', ['x', g.scalar(1, 'int64')], { upper: 0 })),
];

function splitSum(g: Parameters<Forward>[0], inputs: readonly string[], attrs: Record<string, number>): string {
  const [first, second] = g.ops('Split', inputs, { axis: 2, ...attrs }, 2) as [string, string];
  return g.add(g.reduceSum(g.mul(first, first), [2], true), second);
}

const lookUp = (name: string, x: Tensor, indices: Tensor, axis: number): Case => ({
  name,
  covers: ['Gather'],
  inputs: { x, indices },
  forward: (g) => g.gather('x', 'indices', axis),
  wrt: ['x'],
});

const lookUps: readonly Case[] = [
  lookUp('Gather rows', randomTensor([5, 3], 61), ints([2, 4], [0, 3, 3, 1, 3, 0, 4, 3]), 0),
  lookUp('Gather rows, counted from the end', randomTensor([5, 3], 62), ints([3], [-1, 4, -5]), 0),
  lookUp('Gather one position', cube, ints([], [0]), 1),
  lookUp('Gather the last position', cube, ints([], [-1]), 1),
  lookUp('Gather within', cube, ints([2, 2], [2, 0, 2, 2]), 1),
  lookUp('Gather on the last axis', cube, ints([3], [3, 3, 0]), -1),
  lookUp('Gather from a vector', row, ints([2, 3], [0, 1, 1, 3, 3, 3]), 0),
  {
    name: 'GatherElements, any index',
    covers: ['GatherElements'],
    inputs: { x: cube, indices: ints([2, 3, 2], [0, 0, 1, 3, 2, 2, 3, 3, 0, 1, 1, 1]) },
    forward: (g) => g.op('GatherElements', ['x', 'indices'], { axis: -1 }),
    wrt: ['x'],
  },
  {
    name: 'GatherElements on the first axis',
    covers: ['GatherElements'],
    inputs: { x: a, indices: ints([2, 4], [0, 2, 1, 1, 0, 0, 1, 2]) },
    forward: (g) => g.op('GatherElements', ['x', 'indices'], { axis: 0 }),
    wrt: ['x'],
  },
  {
    name: 'GatherElements, one index for all of the batch',
    covers: ['GatherElements'],
    inputs: { x: randomTensor([2, 2, 3, 4], 63), indices: ints([3, 3], [0, 1, 1, 3, 3, 3, 2, 0, 2]) },
    forward: (g) => g.op('GatherElements', ['x', g.expand('indices', [2, 2, 3, 3])], { axis: -1 }),
    wrt: ['x'],
  },
];

const CASES = [...elementwise, ...products, ...normalisations, ...reductions, ...shapes, ...lookUps];

describe('gradient rules', () => {
  it.each(CASES)('$name', async ({ inputs, forward, wrt }) => {
    const { double, single } = await checkRule(inputs, forward, wrt);
    // Constants of the rules are float32: 6e-8 relative.
    expect(double).toBeLessThan(2e-7);
    expect(single).toBeLessThan(2e-5);
  });

  it('has a case for every op of the table', () => {
    const covered = new Set(CASES.flatMap((c) => c.covers));
    expect(Object.keys(RULES).filter((op) => !covered.has(op))).toEqual([]);
  });

  it('shares a tie between equal elements', async () => {
    const x = float32([4], [1, 3, 3, 2]);
    const { gradients } = await gradientsOfMax(x);
    expect(gradients).toEqual([0, 0.5, 0.5, 0]);
  });
});

async function gradientsOfMax(x: Tensor) {
  const check = await checkRule({ x }, (g) => g.mul(g.reduceMax('x', [0], false), g.scalar(1)), ['x']);
  const found = check.gradients.get('x')!;
  const total = found.reduce((sum, v) => sum + v, 0);
  return { gradients: found.map((v) => v / total) };
}
