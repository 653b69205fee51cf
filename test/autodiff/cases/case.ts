import type { Tensor } from '../../../src/onnx/tensor.ts';
import { type Forward, randomTensor } from '../../support/central-differences.ts';

/** A graph whose gradients are compared with central differences. */
export interface Case {
  readonly name: string;
  /** Ops of the table that the case covers. */
  readonly covers: readonly string[];
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly forward: Forward;
  readonly wrt: readonly string[];
}

export const a = randomTensor([3, 4], 1);
export const b = randomTensor([3, 4], 2);
export const row = randomTensor([4], 3);
export const column = randomTensor([3, 1], 4);
export const positive = randomTensor([3, 4], 5, 0.3, 2);
export const cube = randomTensor([2, 3, 4], 6);

export const unary = (op: string, x: Tensor, attrs = {}, name = op): Case => ({
  name,
  covers: [op],
  inputs: { x },
  forward: (g) => g.op(op, ['x'], attrs),
  wrt: ['x'],
});

export const binary = (op: string, x: Tensor, y: Tensor, name = op): Case => ({
  name,
  covers: [op],
  inputs: { x, y },
  forward: (g) => g.op(op, ['x', 'y']),
  wrt: ['x', 'y'],
});
