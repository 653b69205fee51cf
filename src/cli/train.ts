import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { stringify } from 'yaml';
import { WinnowError } from '../errors.ts';
import type { FalseNegativeReport } from '../training/publish/false-negatives.ts';
import { runRecipe } from '../training/publish/run-recipe.ts';
import { readRecipe, recipeSchema } from '../training/recipe/recipe.ts';
import { explainRecipe } from '../training/run/explanation.ts';
import { peekRecipe } from '../training/run/peek.ts';
import type { TrainingObserver } from '../training/run/run-state.ts';
import { startProgress } from '../util/progress.ts';
import { writeSpelling } from '../util/spelling.ts';
import { numberOption } from './options.ts';
import { peekText } from './peek-text.ts';
import { stopOnSignals } from './stop-on-signals.ts';

const EXAMPLES = `
Examples:
  $ npx winnow train recipe.yaml                     # train, or go on where the run stopped
  $ npx winnow train recipe.yaml --explain           # data, steps, weights, memory and time on this machine
  $ npx winnow train recipe.yaml --peek 3            # the first 3 lists as they will be trained on
  $ npx winnow train recipe.yaml --peek 64 --json    # the same with token ids, as one JSON document
  $ npx winnow train recipe.yaml --steps 200         # fewer steps than in the recipe
  $ npx winnow train recipe.yaml --run runs/second   # checkpoints and curve in another folder

SIGINT and SIGTERM stop after the current step, with a checkpoint (exit code 130 or 143); a second SIGINT stops at once.`;

interface Flags {
  readonly run?: string;
  readonly steps?: number;
  readonly seed?: number;
  readonly explain?: true;
  readonly peek?: number;
  readonly json?: true;
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
      bar = startProgress('train', steps, from);
    },
    onStep: ({ step, loss, ms }) => bar?.update(step, `loss ${loss.toFixed(4)}, ${Math.round(ms)} ms a step`),
    onValidation({ step, measure, value, others, best }) {
      // The loss of validation is in the curve.
      const asked = Object.entries(others).filter(([name]) => !/(^| )loss$/.test(name));
      const rest = asked.map(([name, other]) => `, ${name} ${other.toFixed(4)}`);
      say(`\nstep ${step}: ${measure} ${value.toFixed(4)}${best ? ' (best)' : ''}${rest.join('')}`);
    },
    onWarning: (text) => say(`\nwarning: ${text}`),
    onNote: say,
    onSearch: (lists) =>
      say(`looking for texts of the validation set: ${lists.toLocaleString('en-US')} training lists read`),
    stop: () => bar?.stop(),
  };
}

/** Refuses flags that would have no effect together. */
function checkFlags({ explain, peek, json }: Flags): void {
  const refuse = (where: string, expected: string, got: string) => {
    throw new WinnowError('invalid_input', { where, expected, got });
  };
  if (explain && peek !== undefined) refuse('train', '--explain or --peek', 'both');
  if (json && !explain && peek === undefined) refuse('--json', '--peek or --explain beside it', 'neither');
}

/** Prints what the run would do or train on. With `--json` nothing goes to standard error: warnings are part of the document. */
async function show(path: string, flags: Flags): Promise<void> {
  const warnings: string[] = [];
  const warn = (line: string) => (flags.json ? warnings.push(line.trim()) : process.stderr.write(line));
  const loaded = readRecipe(path, overrides(flags), warn);
  const print = (document: object) => process.stdout.write(`${JSON.stringify({ ...document, warnings })}\n`);
  if (flags.peek !== undefined) {
    const peek = await peekRecipe(loaded, flags.peek);
    if (flags.json) print(peek);
    else process.stdout.write(peekText(peek));
    return;
  }
  const { recipe, ...explained } = await explainRecipe(loaded);
  const document = { recipe: writeSpelling(recipeSchema, recipe), ...explained };
  if (flags.json) print(document);
  else process.stdout.write(stringify(document));
}

async function run(path: string, flags: Flags): Promise<void> {
  checkFlags(flags);
  if (flags.explain || flags.peek !== undefined) return show(path, flags);
  const loaded = readRecipe(path, overrides(flags));
  const folder = resolve(flags.run ?? join('runs', loaded.recipe.name));
  const stopping = stopOnSignals();
  const shown = display();
  const { outcome, published, falseNegatives } = await runRecipe(loaded, folder, shown, stopping.signal).finally(() =>
    shown.stop(),
  );
  const complete = outcome.finished && (published !== undefined || !loaded.recipe.publish);
  if (!complete && stopping.stopped(`at step ${outcome.done} of ${outcome.steps}`)) return;
  if (outcome.from === outcome.done) process.stderr.write(`the run was finished before, at step ${outcome.done}\n`);
  if (published) {
    const { name, version, folder: where, already, refused } = published;
    process.stdout.write(`${already ? 'already published as' : 'published'} ${name}@${version} in ${where}\n`);
    for (const { variant, reason } of refused) process.stdout.write(`without an ${variant} file: ${reason}\n`);
  }
  const { validation } = outcome;
  if (validation)
    process.stdout.write(
      `${validation.measure} ${validation.base.toFixed(4)} → ${validation.tuned.toFixed(4)} (step ${outcome.step})\n`,
    );
  if (falseNegatives) process.stdout.write(`${falseNegativeText(falseNegatives)}\n`);
}

/** Says how many negatives stand above their positive, and how much of the data was looked at. */
function falseNegativeText({ found, negatives, lists, ofLists, partial, file }: FalseNegativeReport): string {
  const count = (value: number): string => value.toLocaleString('en-US');
  const share = `${count(found)} of ${count(negatives)} negatives in ${count(lists)} of ${partial ? 'the first ' : ''}${count(ofLists)} training lists`;
  return `${share} score above their positive${file === undefined ? '' : `: ${file}`}`;
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
    .addOption(
      numberOption('--peek <n>', 'print the first n lists as they will be trained on, and do not train', {
        integer: true,
        min: 1,
        max: 10_000,
      }),
    )
    .option('--json', 'print what --peek or --explain shows as one JSON document; --peek adds token ids')
    .addHelpText('after', EXAMPLES)
    .action(run);
}
