import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { stringify } from 'yaml';
import { publishRun } from '../training/publish/publish.ts';
import { readRecipe, recipeSchema } from '../training/recipe/recipe.ts';
import { explainRecipe } from '../training/run/explanation.ts';
import type { TrainingObserver } from '../training/run/run-state.ts';
import { train } from '../training/run/trainer.ts';
import { startProgress } from '../util/progress.ts';
import { writeSpelling } from '../util/spelling.ts';
import { numberOption } from './options.ts';

const EXAMPLES = `
Examples:
  $ npx winnow train recipe.yaml                     # train, or go on where the run stopped
  $ npx winnow train recipe.yaml --explain           # data, steps, weights, memory and time on this machine
  $ npx winnow train recipe.yaml --steps 200         # fewer steps than in the recipe
  $ npx winnow train recipe.yaml --run runs/second   # checkpoints and curve in another folder`;

interface Flags {
  readonly run?: string;
  readonly steps?: number;
  readonly seed?: number;
  readonly explain?: true;
}

function overrides({ steps, seed }: Flags): Record<string, unknown> {
  return { ...(steps !== undefined && { steps }), ...(seed !== undefined && { seed }) };
}

/** Shows a run on standard error. */
function display(): TrainingObserver & { stop(): void } {
  let bar: ReturnType<typeof startProgress> | undefined;
  const say = (text: string): boolean => process.stderr.write(`${text}\n`);
  return {
    onStart({ from, steps, parameters, validation }) {
      say(`training ${(parameters / 1e6).toFixed(1)} M weights, step ${from} of ${steps}`);
      if (validation)
        say(
          `${validation.measure}: first stage ${validation.firstStage.toFixed(4)}, untrained ${validation.base.toFixed(4)}`,
        );
      bar = startProgress('train', steps);
      if (from > 0) bar.update(from);
    },
    onStep: ({ step, loss, ms }) => bar?.update(step, `loss ${loss.toFixed(4)}, ${ms} ms a step`),
    onValidation: ({ step, measure, value, best }) =>
      say(`\nstep ${step}: ${measure} ${value.toFixed(4)}${best ? ' (best)' : ''}`),
    onWarning: (text) => say(`\nwarning: ${text}`),
    stop: () => bar?.stop(),
  };
}

async function run(path: string, flags: Flags): Promise<void> {
  const loaded = readRecipe(path, overrides(flags));
  if (flags.explain) {
    const { recipe, ...explained } = await explainRecipe(loaded);
    process.stdout.write(stringify({ recipe: writeSpelling(recipeSchema, recipe), ...explained }));
    return;
  }
  const folder = resolve(flags.run ?? join('runs', loaded.recipe.name));
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  process.once('SIGTERM', () => stop.abort());
  const shown = display();
  const outcome = await train(loaded, folder, shown, stop.signal);
  shown.stop();
  if (loaded.recipe.publish && !stop.signal.aborted) {
    const { name, version, folder: where } = await publishRun(loaded, outcome);
    process.stdout.write(`published ${name}@${version} in ${where}\n`);
  }
  const { validation } = outcome;
  if (validation)
    process.stdout.write(
      `${validation.measure} ${validation.base.toFixed(4)} → ${validation.tuned.toFixed(4)} (step ${outcome.step})\n`,
    );
}

/** Makes `winnow train`: fine-tunes a backbone. */
export function command(): Command {
  return new Command('train')
    .description('Fine-tune a backbone by a recipe. A run that was stopped goes on from its last checkpoint.')
    .argument('<recipe>', 'recipe in YAML')
    .option('--run <folder>', 'folder of checkpoints, curve and best weights (default: runs/<name>)')
    .addOption(numberOption('--steps <n>', 'optimizer steps; overrides the recipe', { integer: true, min: 1 }))
    .addOption(numberOption('--seed <n>', 'random seed; overrides the recipe', { integer: true, min: 0 }))
    .option('--explain', 'print settings, data, steps, weights, memory and time as YAML, and do not train')
    .addHelpText('after', EXAMPLES)
    .action(run);
}
