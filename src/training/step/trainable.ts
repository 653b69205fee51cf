import type { Tensor } from '../../onnx/tensor.ts';

/** Learning rates may differ between the backbone and what was put on it. */
export const GROUPS = ['backbone', 'head'] as const;
export type Group = (typeof GROUPS)[number];

export interface TrainableWeight {
  /** Name of the initializer. */
  readonly name: string;
  readonly value: Tensor;
  readonly decays: boolean;
  readonly group: Group;
}
