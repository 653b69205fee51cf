import { randomTensor } from '../../support/central-differences.ts';
import { a, type Case, cube, unary } from './case.ts';

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

export const normalizations: readonly Case[] = [
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

export const reductions: readonly Case[] = [
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
