import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { WinnowError } from '../../errors.ts';
import { createLocalTokenizer } from '../../tokenization/local.ts';
import type { PairTokenizer } from '../../tokenization/types.ts';
import { type Batch, batches } from '../data/batches.ts';
import { openSources } from '../data/sources.ts';
import type { ListSource } from '../data/types.ts';
import { openValidation, type Validation } from '../measure/validation.ts';
import { createObjective } from '../objectives/catalog.ts';
import { scheduleFactor } from '../optimizers/schedules.ts';
import { pairOptions } from '../recipe/pair-options.ts';
import { type LoadedRecipe, type Recipe, warmupSteps } from '../recipe/recipe.ts';
import { type Backbone, loadBackbone } from '../step/backbone.ts';
import { openEngine, type TrainingEngine } from '../step/sessions.ts';
import { parameterCount } from '../step/step.ts';
import type { LearningRates, StateArrays, StepInput, StepResult } from '../step/stepper.ts';
import { baseKey, baseValue } from './base-value.ts';
import { type CheckpointFacts, readCheckpoint, readWeights, writeCheckpoint, writeWeights } from './checkpoint.ts';
import { openCurve } from './curve.ts';
import { ring, verdict } from './guards.ts';

/** What a caller may show. */
export interface TrainingObserver {
  onStart?(facts: {
    from: number;
    steps: number;
    parameters: number;
    validation?: { measure: string; firstStage: number; base: number };
  }): void;
  onStep?(facts: { step: number; loss: number; norm: number; learningRate: number; ms: number }): void;
  onValidation?(facts: { step: number; measure: string; value: number; best: boolean }): void;
  onWarning?(text: string): void;
}

export interface TrainingOutcome {
  readonly backbone: Backbone;
  /** Weights to publish: the best by validation, the averaged ones, or the last. */
  readonly weights: StateArrays;
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
}

/** All a run holds while it goes. */
interface Run {
  readonly recipe: Recipe;
  readonly folder: string;
  readonly engine: TrainingEngine;
  readonly stream: AsyncGenerator<Batch>;
  readonly validation: Validation | undefined;
  readonly observer: TrainingObserver;
  readonly record: Awaited<ReturnType<typeof openCurve>>;
  readonly average: StateArrays | undefined;
  facts: CheckpointFacts;
}

/** Names a run by all that decides its numbers. How often it is looked at, saved or published does not. */
function runHash(recipe: Recipe, source: ListSource): string {
  const { checkpoint: _c, publish: _p, name: _n, threads: _t, ...decisive } = recipe;
  const text = JSON.stringify([decisive, source.files.map((f) => f.sha256)]);
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

function ratesAt(recipe: Recipe, step: number): LearningRates {
  const { learningRate, headLearningRate = learningRate } = recipe.optimizer;
  const factor = scheduleFactor({ name: recipe.schedule.name, warmup: warmupSteps(recipe), total: recipe.steps }, step);
  return { backbone: learningRate * factor, head: headLearningRate * factor };
}

async function takeBatches(run: Run): Promise<Batch[]> {
  const taken: Batch[] = [];
  while (taken.length < run.recipe.batch.accumulate) taken.push((await run.stream.next()).value as Batch);
  return taken;
}

/** average ← decay·average + (1 − decay)·weights; the decay warms up so that the first steps do not linger. */
function updateAverage(average: StateArrays, state: StateArrays, decay: number, step: number): void {
  const rate = 1 - Math.min(decay, (1 + step) / (10 + step));
  for (const [name, mean] of average) {
    const now = state.get(name)!;
    for (let i = 0; i < mean.length; i++) mean[i]! += rate * (now[i]! - mean[i]!);
  }
}

async function guard(run: Run, result: StepResult, batch: Batch, step: number): Promise<void> {
  const scores = Array.from(batch.places, (place) => result.scores[place]!);
  const last = { loss: result.loss, norm: result.norm!, scores, trivialLoss: await run.engine.trivialLoss(batch) };
  const alarms = ring(run.facts.alarms, last, run.recipe.guards);
  run.facts = { ...run.facts, alarms: alarms as Record<string, number> };
  const reason = verdict(alarms, run.recipe.guards);
  if (reason === undefined) return;
  if (run.recipe.guards.action === 'stop' || alarms['not a number'])
    throw new WinnowError('training_diverged', { step, reason });
  run.observer.onWarning?.(`step ${step}: ${reason}`);
}

/** Steps until the weights are looked at from outside: by a checkpoint, a validation, or the end. */
function stepsAhead({ stepsPerRun, steps, checkpoint, validation }: Recipe, done: number): number {
  const until = (every: number): number => every - (done % every);
  return Math.min(
    stepsPerRun,
    steps - done,
    until(checkpoint.every),
    validation ? until(validation.every) : Number.POSITIVE_INFINITY,
  );
}

async function nextInputs(run: Run): Promise<StepInput[]> {
  const { step: done } = run.facts;
  const inputs: StepInput[] = [];
  while (inputs.length < stepsAhead(run.recipe, done)) {
    const step = done + inputs.length + 1;
    const taken = await takeBatches(run);
    inputs.push({
      batches: taken,
      step,
      rates: ratesAt(run.recipe, step),
      extra: (batch, i, size) => run.engine.dropout(batch, (step - 1) * taken.length + i, size),
    });
  }
  return inputs;
}

async function nextSteps(run: Run): Promise<void> {
  const inputs = await nextInputs(run);
  const from = performance.now();
  const results = await run.engine.stepper.run(inputs);
  const ms = Math.round((performance.now() - from) / inputs.length);
  if (run.average) updateAverage(run.average, run.engine.stepper.state(), run.recipe.ema, inputs[0]!.step);
  for (const [i, result] of results.entries()) await account(run, inputs[i]!, result, ms);
}

/** Guards, curve and display of a step that was taken. */
async function account(run: Run, { step, batches, rates }: StepInput, result: StepResult, ms: number): Promise<void> {
  const facts = { step, loss: result.loss, norm: result.norm!, learningRate: rates.backbone, ms };
  if (!result.skipped) await guard(run, result, batches.at(-1)!, step);
  run.facts = { ...run.facts, step };
  await run.record(facts);
  run.observer.onStep?.(facts);
}

const bestFile = (folder: string): string => join(folder, 'best.safetensors');

async function validate(run: Run, step: number): Promise<void> {
  const value = await run.validation!.value(run.engine.score);
  const best = value > (run.facts.best?.value ?? Number.NEGATIVE_INFINITY);
  if (best) await writeWeights(bestFile(run.folder), publishable(run), { step, value });
  run.facts = best ? { ...run.facts, best: { step, value }, stale: 0 } : { ...run.facts, stale: run.facts.stale + 1 };
  await run.record({ step, measure: run.validation!.measure, value });
  run.observer.onValidation?.({ step, measure: run.validation!.measure, value, best });
}

/** The trained weights without moments: averaged ones where there are any. */
function publishable(run: Run): StateArrays {
  const state = run.average ?? run.engine.stepper.state();
  return new Map(run.engine.trained.map(({ name }) => [name, state.get(name)!]));
}

const AVERAGE = 'average.';

async function save(run: Run): Promise<void> {
  const averaged = [...(run.average ?? [])].map(([name, data]) => [`${AVERAGE}${name}`, data] as const);
  await writeCheckpoint(
    join(run.folder, 'checkpoints'),
    {
      ...run.facts,
      ...(run.recipe.precision === 'fp16' && { lossScale: run.engine.stepper.lossScale() }),
      state: new Map([...run.engine.stepper.state(), ...averaged]),
    },
    run.recipe.checkpoint.keep,
  );
}

async function loop(run: Run, signal: AbortSignal | undefined): Promise<void> {
  const { recipe } = run;
  const every = recipe.validation?.every ?? Number.POSITIVE_INFINITY;
  while (run.facts.step < recipe.steps) {
    await nextSteps(run);
    const { step } = run.facts;
    if (run.validation && (step % every === 0 || step === recipe.steps)) await validate(run, step);
    const patience = recipe.validation?.patience ?? 0;
    const enough = patience > 0 && run.facts.stale >= patience;
    if (step % recipe.checkpoint.every === 0 || step === recipe.steps || enough || signal?.aborted) await save(run);
    if (enough || signal?.aborted) return;
  }
}

function initialAverage(
  recipe: Recipe,
  engine: TrainingEngine,
  state: StateArrays | undefined,
): StateArrays | undefined {
  if (recipe.ema === 0) return undefined;
  const now = engine.stepper.state();
  return new Map(
    engine.trained.map(({ name }) => [name, Float32Array.from(state?.get(`${AVERAGE}${name}`) ?? now.get(name)!)]),
  );
}

interface Opened {
  readonly run: Run;
  readonly backbone: Backbone;
  readonly source: ListSource;
  readonly tokenizer: PairTokenizer;
  readonly base: number | undefined;
}

async function open(
  { recipe, folder }: LoadedRecipe,
  runFolder: string,
  observer: TrainingObserver,
  bases: string | undefined,
): Promise<Opened> {
  const at = resolve(folder, recipe.backbone);
  const backbone = await loadBackbone(at, recipe);
  const tokenizer = await createLocalTokenizer(at);
  const source = await openSources(recipe.data, folder, createObjective(recipe.objective).needs);
  const hash = runHash(recipe, source);
  await mkdir(runFolder, { recursive: true });
  const checkpoint = await readCheckpoint(join(runFolder, 'checkpoints'), hash);
  const fresh = await openEngine(backbone, recipe, tokenizer.padId, checkpoint);
  const pairs = pairOptions(recipe);
  const validation = recipe.validation && (await openValidation(recipe.validation, folder, tokenizer, pairs));
  const facts: CheckpointFacts = checkpoint ? { ...checkpoint } : { step: 0, runHash: hash, stale: 0, alarms: {} };
  const base =
    validation &&
    (await baseValue(validation, fresh, {
      own: join(runFolder, 'base.json'),
      resumed: facts.step > 0,
      shared: bases && join(bases, `${baseKey(backbone, validation)}.json`),
    }));
  const options = {
    queries: recipe.batch.queries,
    bucketBatches: recipe.batch.bucketBatches,
    seed: recipe.seed,
    pairs,
  };
  const { state: _s, ...plain } = facts as CheckpointFacts & { state?: StateArrays };
  const run: Run = {
    recipe,
    folder: runFolder,
    engine: fresh,
    stream: batches(source, tokenizer, options, facts.step * recipe.batch.accumulate),
    validation,
    observer,
    record: await openCurve(join(runFolder, 'curve.jsonl'), facts.step),
    average: initialAverage(recipe, fresh, checkpoint?.state),
    facts: plain,
  };
  return { run, backbone, source, tokenizer, base };
}

/**
 * Runs a recipe, or goes on with it where its run folder has a checkpoint. Repeats exactly: the same recipe on the same machine gives the
 * same bits, interrupted or not.
 * @param runFolder checkpoints, curve and best weights go there.
 * @param signal stops after the step under way, with a checkpoint.
 * @param bases folder of what untrained models get, where runs from the same model share it.
 * @throws WinnowError `invalid_input` for recipe, data or checkpoint; `unsupported_op`; `training_diverged`.
 */
export async function train(
  loaded: LoadedRecipe,
  runFolder: string,
  observer: TrainingObserver = {},
  signal?: AbortSignal,
  bases?: string,
): Promise<TrainingOutcome> {
  const { run, backbone, source, tokenizer, base } = await open(loaded, runFolder, observer, bases);
  const { validation, recipe } = run;
  const parameters = parameterCount(run.engine.trained);
  observer.onStart?.({
    from: run.facts.step,
    steps: recipe.steps,
    parameters,
    ...(validation && { validation: { measure: validation.measure, firstStage: validation.firstStage, base: base! } }),
  });
  try {
    await loop(run, signal);
    const best = run.facts.best;
    const weights = best ? (await readWeights(bestFile(runFolder))).state : publishable(run);
    return {
      backbone,
      weights,
      step: best?.step ?? run.facts.step,
      files: source.files,
      skipped: source.skipped(),
      runFolder,
      ...(validation && {
        validation: {
          measure: validation.measure,
          queries: validation.queries,
          firstStage: validation.firstStage,
          base: base!,
          tuned: best?.value ?? Number.NaN,
        },
      }),
    };
  } finally {
    await run.stream.return(undefined);
    await run.engine.close();
    await source.close?.();
    await tokenizer.close();
  }
}
