/*
 * Dynamic loss scaling (Micikevicius et al., ICLR 2018): the loss is multiplied by a factor before the backward pass so that small gradients
 * do not underflow in half precision. When a gradient overflows, the step is skipped and the factor halved; after many good steps it is
 * doubled.
 */

export interface LossScale {
  readonly scale: number;
  /** Consecutive steps without overflow. */
  readonly good: number;
  /** Steps skipped so far: they do not count in the optimizer's bias correction. */
  readonly skipped: number;
}

const SMALLEST = 1;
const LARGEST = 2 ** 24;
/** Good steps before the factor is doubled. */
export const PATIENCE = 2000;

export const FIRST_SCALE: LossScale = { scale: 2 ** 16, good: 0, skipped: 0 };
/** The factor of precisions that need no scaling. */
export const NO_SCALE: LossScale = { scale: 1, good: 0, skipped: 0 };

/** Whether a step with such gradients is skipped: it is, until the factor cannot be lowered further. */
export const skips = ({ scale }: LossScale, finite: boolean): boolean => !finite && scale > SMALLEST;

/** Returns the factor after a step. @param finite whether all its gradients were finite. */
export function nextScale({ scale, good, skipped }: LossScale, finite: boolean): LossScale {
  if (!finite) return { scale: Math.max(SMALLEST, scale / 2), good: 0, skipped: skipped + 1 };
  if (good + 1 < PATIENCE) return { scale, good: good + 1, skipped };
  return { scale: Math.min(LARGEST, scale * 2), good: 0, skipped };
}
