import { join } from 'node:path';
import { withLock } from '../../util/lock-file.ts';
import type { LoadedRecipe } from '../recipe/recipe.ts';
import { withSteps } from '../run/epochs.ts';
import type { TrainingObserver } from '../run/run-state.ts';
import { type TrainingOutcome, train } from '../run/trainer.ts';
import { checkPublish } from './check-publish.ts';
import { type FalseNegativeReport, reportFalseNegatives } from './false-negatives.ts';
import { type PublishedRun, publishRun } from './publish.ts';

/** Does `work` while no other process trains in the run folder. @throws WinnowError `in_use`. */
export const lockRun = <T>(runFolder: string, work: () => Promise<T>): Promise<T> =>
  withLock(join(runFolder, 'run.lock'), 'wait for it, or give another --run', work);

/** What became of a recipe. */
interface RecipeRun {
  readonly outcome: TrainingOutcome;
  /** Absent for a run that was stopped, and for a recipe that does not publish. */
  readonly published?: PublishedRun;
  /** Absent for a run that was stopped or finished before. */
  readonly falseNegatives?: FalseNegativeReport;
}

/**
 * Trains by a recipe and publishes the result, as the only process in the run folder. Settings of publishing are checked first.
 * @throws WinnowError as `checkPublish`, `train` and `publishRun`; `in_use`.
 */
export function runRecipe(
  given: LoadedRecipe,
  runFolder: string,
  observer: TrainingObserver,
  signal: AbortSignal,
): Promise<RecipeRun> {
  return lockRun(runFolder, async () => {
    await checkPublish(given);
    const loaded = await withSteps(given, (line) => observer.onNote?.(line));
    const outcome = await train(loaded, runFolder, observer, signal);
    if (!outcome.finished || signal.aborted) return { outcome };
    const published = loaded.recipe.publish && (await publishRun(loaded, outcome));
    const falseNegatives =
      outcome.from === outcome.done || signal.aborted ? undefined : await reportFalseNegatives(loaded, outcome, signal);
    return { outcome, ...(published && { published }), ...(falseNegatives && { falseNegatives }) };
  });
}
