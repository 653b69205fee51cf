import { sizeOf, type Tensor } from '../../onnx/tensor.ts';

/** Groups of weights with learning rates of their own. */
export const GROUPS = ['backbone', 'head'] as const;
export type Group = (typeof GROUPS)[number];

/** A weight that training may change. */
export interface TrainableWeight {
  /** Name of the initializer. */
  readonly name: string;
  readonly value: Tensor;
  readonly decays: boolean;
  readonly group: Group;
  /** Factor on the learning rate of its group; 1 if absent. */
  readonly rate?: number | undefined;
}

/** Returns the number of elements of all weights. */
export const parameterCount = (weights: readonly TrainableWeight[]): number =>
  weights.reduce((sum, w) => sum + sizeOf(w.value.dims), 0);
