import { float32View } from '../../onnx/tensor.ts';
import type { TrainingSessions } from '../step/sessions.ts';
import type { StateArrays } from '../step/stepper.ts';

/** Prefix of averaged weights in a checkpoint, where they stand beside the trained ones. */
const AVERAGE = 'average.';

/** Starts the moving average at the weights of the checkpoint's average, else at the current ones. */
export function initialAverage(
  { trained, stepper }: TrainingSessions,
  checkpoint: StateArrays | undefined,
): StateArrays {
  const now = stepper.state();
  return new Map(
    trained.map(({ name }) => [name, Float32Array.from(checkpoint?.get(`${AVERAGE}${name}`) ?? now.get(name)!)]),
  );
}

/**
 * Updates the average in place: average ← decay·average + (1 − decay)·weights. The decay rises to its value over the first steps, so that
 * the untrained weights lose their share soon.
 * @param step counted from 1.
 */
export function updateAverage(average: StateArrays, state: StateArrays, decay: number, step: number): void {
  const rate = 1 - Math.min(decay, (1 + step) / (10 + step));
  for (const [name, mean] of average) {
    const now = state.get(name)!;
    for (let i = 0; i < mean.length; i++) mean[i]! += rate * (now[i]! - mean[i]!);
  }
}

/** Returns the mean of the untrained weights and others. @param share of the untrained ones. */
export const withStart = (trained: TrainingSessions['trained'], state: StateArrays, share: number): StateArrays =>
  new Map(
    trained.map(({ name, value }) => {
      const [start, end] = [float32View(value), state.get(name)!];
      return [name, share === 0 ? end : end.map((x, i) => share * start[i]! + (1 - share) * x)];
    }),
  );

/** Returns the average under the names it has in a checkpoint. */
export const averageState = (average: StateArrays | undefined): StateArrays =>
  new Map([...(average ?? [])].map(([name, data]) => [`${AVERAGE}${name}`, data]));
