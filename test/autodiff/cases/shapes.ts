import type { Tensor } from '../../../src/onnx/tensor.ts';
import { type Forward, ints, randomTensor } from '../../support/central-differences.ts';
import { a, type Case, cube, row } from './case.ts';

const shaped = (name: string, op: string, forward: Forward, x: Tensor = cube): Case => ({
  name,
  covers: [op],
  inputs: { x },
  forward,
  wrt: ['x'],
});

export const shapes: readonly Case[] = [
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

export const lookups: readonly Case[] = [
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
