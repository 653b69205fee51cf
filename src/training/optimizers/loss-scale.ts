/*
 * Dynamic loss scaling (Micikevicius et al., ICLR 2018): the loss is multiplied before the backward pass so that small gradients do not
 * vanish in half precision; when a gradient overflows the step is left out and the factor halved, after many good steps it is doubled.
 */

export interface LossScale {
  readonly scale: number;
  /** Steps in a row without overflow. */
  readonly good: number;
  /** Steps left out so far: they do not count for the optimizer's bias correction. */
  readonly skipped: number;
}

const LEAST = 1;
const MOST = 2 ** 24;
/** Good steps before the factor is doubled. */
export const PATIENCE = 2000;

export const FIRST_SCALE: LossScale = { scale: 2 ** 16, good: 0, skipped: 0 };
/** For precisions that need no scaling. */
export const NO_SCALE: LossScale = { scale: 1, good: 0, skipped: 0 };

/** Whether a step with such gradients is left out, rather than being a fault: the factor can still go down. */
export const skips = ({ scale }: LossScale, finite: boolean): boolean => !finite && scale > LEAST;

/** The factor after a step whose gradients were all finite, or not. */
export function nextScale({ scale, good, skipped }: LossScale, finite: boolean): LossScale {
  if (!finite) return { scale: Math.max(LEAST, scale / 2), good: 0, skipped: skipped + 1 };
  if (good + 1 < PATIENCE) return { scale, good: good + 1, skipped };
  return { scale: Math.min(MOST, scale * 2), good: 0, skipped };
}
