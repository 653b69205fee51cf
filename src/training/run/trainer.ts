import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pairsWithin } from '../../registry/pair-limits.ts';
import type { PairTokenizer } from '../../tokenization/tokenization-types.ts';
import type { LeftOut, ListSource } from '../data/list-types.ts';
import { openSources } from '../data/sources.ts';
import { passagesFolder, passagesNote } from '../interaction/passage-states.ts';
import { recipeTokenizer } from '../interaction/tokenizer.ts';
import type { Validation } from '../measure/validation.ts';
import { openValidations } from '../measure/validations.ts';
import { createObjective } from '../objectives/catalog.ts';
import { findBackbone } from '../recipe/backbone-folder.ts';
import { hashedValidation, type LoadedRecipe, type Recipe } from '../recipe/recipe.ts';
import { type Backbone, loadBackbone } from '../step/backbone.ts';
import { mergeAdapters } from '../step/lora.ts';
import { openSessions, type TrainingSessions } from '../step/sessions.ts';
import type { StateArrays } from '../step/stepper.ts';
import { parameterCount } from '../step/trainable.ts';
import { averageState, initialAverage, withStart } from './average.ts';
import { baseKey, baseValue, weightsHash } from './base-value.ts';
import { readBest, readCheckpoint, writeBest, writeCheckpoint } from './checkpoint.ts';
import { checkBackbone, checkFiles, checkRunFolder } from './checks.ts';
import { CURVE_FILE, openCurve } from './curve.ts';
import { openEvents } from './event-file.ts';
import { guardLeaks, leakNotes } from './leaks.ts';
import { guardLeftOut, leftOutReasons, leftOutSince } from './left-out.ts';
import type { RunState, TrainingObserver } from './run-state.ts';
import { takeSteps } from './steps.ts';
import { openStream } from './stream.ts';
import { validationLoss } from './validation-loss.ts';
import { centered } from './zero-point.ts';

export interface TrainingOutcome {
  readonly backbone: Backbone;
  /** Weights to publish: the best by validation, the averaged ones, or the last. */
  readonly weights: StateArrays;
  /** The step they are from. */
  readonly step: number;
  readonly validation?: {
    readonly measure: string;
    readonly queries: number;
    readonly firstStage: number;
    readonly base: number;
    readonly tuned: number;
  };
  readonly files: ListSource['files'];
  readonly skipped: Readonly<Record<string, number>>;
  readonly runFolder: string;
  /** Hash of everything that decides the run's numbers. */
  readonly runHash: string;
  /** Steps that are done, of this call and those before it. */
  readonly done: number;
  /** Steps of the whole run. */
  readonly steps: number;
  /** Steps that were done before this call. */
  readonly from: number;
  /** Whether the run is at its end. */
  readonly finished: boolean;
}

/** Returns a hash of everything that decides a run's numbers; checkpoint interval, publishing, name, threads and what leaks do are left out. */
function hashOf(recipe: Recipe, source: ListSource, untrained: string): string {
  const { checkpoint: _c, publish: _p, name: _n, threads: _t, falseNegatives: _f, average, ...others } = recipe;
  const { interaction } = recipe;
  const decisive = {
    ...others,
    ...(average > 0 && { average }),
    ...(interaction && { interaction: { ...interaction, passages: undefined } }),
  };
  const validation = hashedValidation(recipe.validation);
  const measured = validation && { validation: { ...validation, leaks: undefined } };
  const data = { ...recipe.data, maxLeftOut: undefined };
  const text = JSON.stringify([{ ...decisive, data, ...measured }, source.files.map((f) => f.sha256), untrained]);
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

/** Returns the trained weights without moments: the averaged ones where the recipe asks for an average. */
const weightsToPublish = ({ average, sessions, recipe }: RunState): StateArrays =>
  withStart(sessions.trained, average ?? sessions.stepper.state(), recipe.average);

async function validate(run: RunState, step: number): Promise<void> {
  const { measure } = run.validation!;
  // What is published is measured; a moving average is near the weights that it follows.
  const weights = run.recipe.average > 0 ? weightsToPublish(run) : undefined;
  const score: TrainingSessions['score'] = (rows) => run.sessions.score(rows, weights);
  const { value, others } = await run.validation!.all(score, validationLoss(run));
  const isBetter = value > (run.facts.best?.value ?? Number.NEGATIVE_INFINITY);
  const best = run.recipe.validation?.weights === 'last' ? step === run.recipe.steps : isBetter;
  if (best) await writeBest(run.folder, weightsToPublish(run), run.facts.runHash, { step, value });
  run.facts = best ? { ...run.facts, best: { step, value }, stale: 0 } : { ...run.facts, stale: run.facts.stale + 1 };
  await run.record({ step, measure, value, ...(Object.keys(others).length > 0 && { others }) });
  run.observer.onValidation?.({ step, measure, value, others, best });
}

async function saveCheckpoint({ folder, facts, recipe, sessions, average }: RunState): Promise<void> {
  await writeCheckpoint(
    join(folder, 'checkpoints'),
    {
      ...facts,
      ...(recipe.precision === 'fp16' && { lossScale: sessions.stepper.lossScale() }),
      state: new Map([...sessions.stepper.state(), ...averageState(average)]),
    },
    recipe.checkpoint.keep,
  );
}

/** Whether a run is at its end: all steps are taken, or validation has not risen for long enough. */
function isFinished({ recipe, facts }: Pick<RunState, 'recipe' | 'facts'>): boolean {
  const patience = recipe.validation?.patience || Number.POSITIVE_INFINITY;
  return facts.step >= recipe.steps || facts.stale >= patience;
}

async function loop(run: RunState, signal: AbortSignal | undefined): Promise<void> {
  const { recipe } = run;
  const every = recipe.validation?.every ?? Number.POSITIVE_INFINITY;
  while (!isFinished(run) && !signal?.aborted) {
    await takeSteps(run);
    const { step } = run.facts;
    const last = step === recipe.steps;
    if (run.validation && (step % every === 0 || last)) await validate(run, step);
    if (step % recipe.checkpoint.every === 0 || isFinished(run) || signal?.aborted) await saveCheckpoint(run);
  }
}

interface OpenRun {
  readonly run: RunState;
  readonly backbone: Backbone;
  readonly source: ListSource;
  readonly tokenizer: PairTokenizer;
  /** Value of the untrained model; undefined without a validation. */
  readonly base: number | undefined;
  /** What was reported as left out before the first step. */
  readonly told: readonly LeftOut[];
}

/** Opens the run's curve, and its copy for TensorBoard. */
async function openCurves(runFolder: string, fromStep: number): Promise<RunState['record']> {
  const lines = await openCurve(join(runFolder, CURVE_FILE), fromStep);
  const events = await openEvents(join(runFolder, 'events.out.tfevents.winnow'), fromStep);
  return async (point) => {
    await lines(point);
    await events(point);
  };
}

/** Measures the untrained model. @param open opens it where `current` holds trained weights. */
async function measureBase(
  validation: Validation,
  current: TrainingSessions,
  open: (() => Promise<TrainingSessions>) | undefined,
): Promise<number> {
  if (!open) return validation.value(current.score);
  const untrained = await open();
  return validation.value(untrained.score).finally(() => untrained.close());
}

async function openRun(
  loaded: LoadedRecipe,
  runFolder: string,
  observer: TrainingObserver,
  bases: string | undefined,
): Promise<OpenRun> {
  const { recipe, folder } = loaded;
  checkFiles(loaded);
  const backboneFolder = await findBackbone(recipe.backbone, folder);
  const read = await loadBackbone(backboneFolder, recipe);
  checkBackbone(read, recipe);
  await checkRunFolder(read, recipe, runFolder);
  const tokenizer = await recipeTokenizer(backboneFolder, recipe);
  const backbone = recipe.centered ? await centered(read, loaded, tokenizer, observer.onNote) : read;
  const source = await openSources(recipe.data, folder, createObjective(recipe.objective).needs);
  const untrained = weightsHash(backbone);
  const hash = hashOf(recipe, source, untrained);
  await mkdir(runFolder, { recursive: true });
  const { checkpoint, damaged } = await readCheckpoint(join(runFolder, 'checkpoints'), hash);
  for (const fault of damaged)
    observer.onWarning?.(`damaged checkpoint: ${fault}; going on from step ${checkpoint?.step ?? 0}`);
  // Before hours of training, not after them.
  if (checkpoint?.best) await readBest(runFolder, hash, checkpoint.best);
  const { state, ...facts } = checkpoint ?? { state: undefined, step: 0, runHash: hash, stale: 0, alarms: {} };
  const told = checkpoint ? [] : await guardLeftOut(recipe.data, source, recipe.seed, observer.onNote);
  const passages = passagesFolder(loaded, runFolder);
  const sessions = await openSessions(backbone, recipe, tokenizer.padId, { ...checkpoint, passages });
  const pairs = pairsWithin(recipe);
  const validation = recipe.validation && (await openValidations(recipe.validation, folder, tokenizer, pairs));
  const leaks = validation && (await guardLeaks(validation, source, recipe.validation!, runFolder, observer.onSearch));
  for (const note of leaks ? leakNotes(leaks) : []) observer.onNote?.(note);
  // A resumed run has other weights than the untrained model.
  const again = checkpoint && (() => openSessions(backbone, recipe, tokenizer.padId, { passages }));
  const base =
    validation &&
    (await baseValue(validation, () => measureBase(validation, sessions, again), {
      own: join(runFolder, 'base.json'),
      resumed: facts.step > 0,
      shared: bases && join(bases, `${baseKey(untrained, validation)}.json`),
    }));
  const run: RunState = {
    recipe,
    folder: runFolder,
    sessions,
    stream: await openStream(recipe, source, tokenizer, facts.step, observer.onNote),
    validation,
    observer,
    record: await openCurves(runFolder, facts.step),
    average: recipe.ema === 0 ? undefined : initialAverage(sessions, state),
    facts,
  };
  return { run, backbone, source, tokenizer, base, told };
}

/**
 * Runs a recipe, or continues it where the run folder has a checkpoint. The same recipe on the same machine gives the same bits, interrupted
 * or not.
 * @param runFolder checkpoints, curve and best weights go there.
 * @param signal stops the run after the current step, with a checkpoint.
 * @param bases folder in which runs of the same untrained model share its validation value.
 * @throws WinnowError `invalid_input` for recipe, data or checkpoint; `unsupported_op`; `training_diverged`.
 */
export async function train(
  loaded: LoadedRecipe,
  runFolder: string,
  observer: TrainingObserver = {},
  signal?: AbortSignal,
  bases?: string,
): Promise<TrainingOutcome> {
  const { run, backbone, source, tokenizer, base, told } = await openRun(loaded, runFolder, observer, bases);
  const { validation, recipe, sessions } = run;
  const from = run.facts.step;
  observer.onStart?.({
    from,
    steps: recipe.steps,
    parameters: parameterCount(sessions.trained),
    ...(validation && { validation: { measure: validation.measure, firstStage: validation.firstStage, base: base! } }),
  });
  for (const note of validation?.notes ?? []) observer.onWarning?.(note);
  try {
    await loop(run, signal);
    const later = leftOutSince(told, source.leftOut());
    if (sessions.passages) observer.onNote?.(passagesNote(sessions.passages));
    if (later.length > 0) observer.onNote?.(`left out in training: ${leftOutReasons(later)}`);
    const { best, step: done, runHash } = run.facts;
    const published = best && (await readBest(runFolder, runHash, best));
    return {
      backbone,
      weights: mergeAdapters(backbone.model, backbone.adapters, published?.state ?? weightsToPublish(run)),
      step: published?.best.step ?? done,
      done,
      runHash,
      steps: recipe.steps,
      from,
      finished: isFinished(run),
      files: source.files,
      skipped: source.skipped(),
      runFolder,
      ...(validation && {
        validation: {
          measure: validation.measure,
          queries: validation.queries,
          firstStage: validation.firstStage,
          base: base!,
          tuned: published?.best.value ?? Number.NaN,
        },
      }),
    };
  } finally {
    await run.stream.return(undefined);
    await sessions.close();
    await source.close?.();
    await tokenizer.close();
  }
}
