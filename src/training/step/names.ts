import type { StepScalars } from '../optimizers/adamw.ts';
import type { Group } from './trainable.ts';

/** Scalar inputs of a step, per group of weights. */
export const SCALARS = ['learningRate', 'stepSize', 'secondScale'] as const satisfies readonly (keyof StepScalars)[];
/** Names of a training graph's inputs and outputs, except the encoder's inputs. */
export const NAMES = {
  placement: 'train.placement',
  relevance: 'train.relevance',
  teacher: 'train.teacher',
  valid: 'train.valid',
  weight: 'train.weight',
  loss: 'train.loss',
  norm: 'train.norm',
  scores: 'train.scores',
  /** Factor on the loss before the backward pass, and its inverse. */
  lossScale: 'train.lossScale',
  unscale: 'train.unscale',
  scalar: (group: Group, scalar: keyof StepScalars) => `train.${group}.${scalar}`,
  moment: (order: 1 | 2, weight: string) => `train.m${order}.${weight}`,
  accumulated: (weight: string) => `train.sum.${weight}`,
  gradient: (weight: string) => `gradient.${weight}`,
  /** The nth lookup in a table: ids, and gradients of the rows read. */
  ids: (table: string, n: number) => `ids.${n}.${table}`,
  rows: (table: string, n: number) => `rows.${n}.${table}`,
  next: (state: string) => `next.${state}`,
} as const;
