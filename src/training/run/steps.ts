import { WinnowError } from '../../errors.ts';
import type { Batch } from '../data/batches.ts';
import { scheduleFactor } from '../optimizers/schedules.ts';
import { warmupSteps } from '../recipe/conflicts.ts';
import type { Recipe } from '../recipe/recipe.ts';
import type { LearningRates, StepInput, StepResult } from '../step/stepper.ts';
import { updateAverage } from './average.ts';
import { alarmMessage, countAlarms } from './guards.ts';
import type { RunState } from './run-state.ts';

function ratesAt(recipe: Recipe, step: number): LearningRates {
  const { learningRate, headLearningRate = learningRate } = recipe.optimizer;
  const { name, floor } = recipe.schedule;
  const factor = scheduleFactor({ name, warmup: warmupSteps(recipe), total: recipe.steps, floor }, step);
  return { backbone: learningRate * factor, head: headLearningRate * factor };
}

async function takeBatches(run: RunState): Promise<Batch[]> {
  const taken: Batch[] = [];
  while (taken.length < run.recipe.batch.accumulate) taken.push((await run.stream.next()).value as Batch);
  return taken;
}

/** Checks a step by the guards. @throws WinnowError `training_diverged` where a guard stops the run. */
async function guard(run: RunState, result: StepResult, batch: Batch, step: number): Promise<void> {
  const { facts, recipe, sessions, observer } = run;
  const scores = Array.from(batch.places, (place) => result.scores[place]!);
  const trivialLoss = await sessions.trivialLoss(batch);
  const alarms = countAlarms(
    facts.alarms,
    { loss: result.loss, norm: result.norm!, scores, trivialLoss },
    recipe.guards,
  );
  run.facts = { ...facts, alarms: alarms as Record<string, number> };
  const reason = alarmMessage(alarms, recipe.guards);
  if (reason === undefined) return;
  if (recipe.guards.action === 'stop' || alarms['not a number'])
    throw new WinnowError('training_diverged', { step, reason });
  observer.onWarning?.(`step ${step}: ${reason}`);
}

/** Returns the number of steps of the next run of the session: it ends where a checkpoint or a validation needs the weights. */
function stepsAhead({ stepsPerRun, steps, checkpoint, validation }: Recipe, done: number): number {
  const until = (every: number): number => every - (done % every);
  return Math.min(
    stepsPerRun,
    steps - done,
    until(checkpoint.every),
    validation ? until(validation.every) : Number.POSITIVE_INFINITY,
  );
}

async function nextInputs(run: RunState): Promise<StepInput[]> {
  const { step: done } = run.facts;
  const inputs: StepInput[] = [];
  while (inputs.length < stepsAhead(run.recipe, done)) {
    const step = done + inputs.length + 1;
    const taken = await takeBatches(run);
    inputs.push({
      batches: taken,
      step,
      rates: ratesAt(run.recipe, step),
      extra: async (batch, i, size) => ({
        ...run.sessions.dropout(batch, (step - 1) * taken.length + i, size),
        ...(await run.sessions.inputs(batch.rows)),
      }),
    });
  }
  return inputs;
}

/** Records a step that was taken: guards, curve and observer. */
async function recordStep(run: RunState, input: StepInput, result: StepResult, ms: number): Promise<void> {
  const { step, batches, rates } = input;
  const facts = { step, loss: result.loss, norm: result.norm!, learningRate: rates.backbone, ms };
  if (!result.skipped) await guard(run, result, batches.at(-1)!, step);
  run.facts = { ...run.facts, step };
  await run.record(facts);
  run.observer.onStep?.(facts);
}

/**
 * Takes the steps of one run of the session (`stepsPerRun`, fewer before a checkpoint, a validation or the end).
 * @throws WinnowError `training_diverged` where a guard stops the run.
 */
export async function takeSteps(run: RunState): Promise<void> {
  const inputs = await nextInputs(run);
  const from = performance.now();
  const results = await run.sessions.stepper.run(inputs);
  // Hundredths: a step of a tiny model takes less than a millisecond.
  const ms = Math.round((100 * (performance.now() - from)) / inputs.length) / 100;
  if (run.average) updateAverage(run.average, run.sessions.stepper.state(), run.recipe.ema, inputs[0]!.step);
  for (const [i, result] of results.entries()) await recordStep(run, inputs[i]!, result, ms);
}
