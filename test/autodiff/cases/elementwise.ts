import { ints, randomTensor } from '../../support/central-differences.ts';
import { a, b, binary, type Case, column, cube, positive, row, unary } from './case.ts';

export const elementwise: readonly Case[] = [
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
