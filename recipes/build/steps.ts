import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, mkdir } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { collect, fullCells } from '../../src/training/grid/grid.ts';
import { readGrid } from '../../src/training/grid/grid-schema.ts';
import { warnOfOld } from '../../src/util/spelling.ts';

export const ROOT = resolve(import.meta.dirname, '../..');
export const DATA = join(ROOT, '../shared/data');
export const MINILM = join(ROOT, '../shared/backbones/all-minilm-l6-v2');

/** A part of the work that is not repeated once its output exists. */
export interface Step {
  readonly name: string;
  /** What shows that it is done. */
  readonly output: string;
  /** Runs it, or goes on where it was stopped. */
  readonly run: () => void | Promise<void>;
  /** The recipe or grid that it trains, for the forecast. */
  readonly recipe?: string;
}

const program = (args: readonly string[]): string[] => [join(ROOT, 'bin/winnow.mjs'), ...args];

/** Runs a command of this program on this terminal. @throws Error where it fails. */
export function winnow(...args: string[]): void {
  const done = spawnSync(process.execPath, program(args), { stdio: 'inherit', cwd: ROOT });
  if (done.status !== 0) throw new Error(`winnow ${args.join(' ')} ended with ${done.status ?? done.signal}`);
}

/**
 * Runs the steps that are not done.
 * @param times file that gets the seconds of each step, a line each time that one ran. @param last name of the last step to run; all if absent.
 */
export async function runSteps(steps: readonly Step[], times: string, last?: string): Promise<void> {
  for (const step of steps) {
    if (!existsSync(step.output)) {
      process.stdout.write(`${step.name} → ${relative(ROOT, step.output)}\n`);
      await mkdir(dirname(step.output), { recursive: true });
      await mkdir(dirname(times), { recursive: true });
      const start = performance.now();
      try {
        await step.run();
      } finally {
        // Of a step that is stopped and goes on later, every part has a line.
        const seconds = Math.round((performance.now() - start) / 1000);
        await appendFile(times, `${JSON.stringify({ name: step.name, seconds })}\n`);
      }
    }
    if (step.name === last) return;
  }
}

const isGrid = (recipe: string): boolean => recipe.endsWith('objectives.yaml');

/** Prints which steps are done; of training that can be read already, what `winnow train --explain` and `winnow grid --list` say. */
function explainSteps(steps: readonly Step[]): void {
  for (const { name, output, recipe } of steps) {
    const isDone = existsSync(output);
    process.stdout.write(`${isDone ? 'done   ' : 'to do  '} ${name}\n`);
    if (isDone || recipe === undefined) continue;
    const command = isGrid(recipe) ? ['grid', recipe, '--list'] : ['train', recipe, '--explain'];
    const asked = spawnSync(process.execPath, program(command), { cwd: ROOT, encoding: 'utf8' });
    const text = asked.status === 0 ? asked.stdout : 'its data is not made yet\n';
    process.stdout.write(text.replaceAll(/^(?=.)/gm, '          '));
  }
}

/** Flags of a recipe that builds models. */
interface BuildFlags {
  /** Registry folder that the models go to. */
  readonly models: string;
  readonly until: string | undefined;
  readonly explain: boolean;
}

/** Reads the flags of a recipe that builds models. @param models the folder where none is given. */
export function buildFlags(models: string): BuildFlags {
  const { values } = parseArgs({
    options: {
      models: { type: 'string' },
      /** Old name of `--models`. */
      registry: { type: 'string' },
      until: { type: 'string' },
      explain: { type: 'boolean', default: false },
    },
  });
  if (values.registry !== undefined) warnOfOld([{ at: '', old: '--registry', now: '--models' }]);
  return {
    models: resolve(values.models ?? values.registry ?? models),
    until: values.until,
    explain: values.explain,
  };
}

/** Explains the steps or runs them, as the flags say; a step that is not there ends the program with 2. @returns whether all are done. */
export async function followFlags(steps: readonly Step[], times: string, flags: BuildFlags): Promise<boolean> {
  const { until, explain } = flags;
  if (until !== undefined && !steps.some(({ name }) => name === until)) {
    process.stderr.write(`--until: expected one of ${steps.map(({ name }) => name).join(', ')}; got ${until}\n`);
    process.exit(2);
  }
  if (explain) explainSteps(steps);
  else await runSteps(steps, times, until);
  return !explain && until === undefined;
}

/** A version that a grid has trained, the better of its objective's seeds. */
export interface BestSeed {
  readonly objective: string;
  readonly version: string;
  readonly validation: number;
}

/**
 * Returns the better seed of each objective of a grid by the held-out queries, not by the sets that the models are compared on.
 * @param run folder of the grid. @param registry folder that its cells publish to.
 */
export async function bestSeeds(grid: string, run: string, registry: string): Promise<BestSeed[]> {
  const cells = fullCells(readGrid(grid), new Map());
  const { done } = await collect(run, cells);
  return [...Map.groupBy(done, ({ cell }) => cell.objective)].map(([objective, results]) => {
    const best = results.toSorted((a, b) => (b.validation ?? 0) - (a.validation ?? 0))[0]!;
    const { name } = cells.find((cell) => cell.objective === objective && cell.seed === best.cell.seed)!.recipe;
    return { objective, version: join(registry, name, '1'), validation: best.validation ?? 0 };
  });
}

/** Returns the best of several, which becomes the default model. */
export const bestOf = (seeds: readonly BestSeed[]): BestSeed =>
  seeds.reduce((best, seed) => (seed.validation > best.validation ? seed : best));

/** Returns the name that the model of an objective ships under. */
export const shippedName = (objective: string): string => `minilm-l6-${objective.toLowerCase()}`;

/** BM25's lists of dl21, whose held-out queries choose and calibrate. */
export const DL21 = ['--data', join(DATA, 'trec-dl/BM25.dl21.top100.json')];

/** Quantizes a version into a registry folder. Word embeddings are beside the graph: the same file for all models of one backbone. */
export function quantize(version: string, name: string, models: string, ...more: readonly string[]): void {
  const as = ['--name', name, '--models', models, '--label', 'stable'];
  winnow('quantize', version, ...DL21, ...as, '--tables', 'beside', '--only', ...more);
}

/** Makes the relevance scores of a model probabilities. @param qrels judgements of queries that no model was trained on. */
export function calibrate(name: string, models: string, qrels: string): void {
  const lists = ['--format', 'rank-llm', ...DL21, '--qrels', qrels, '--min-relevance', '2'];
  winnow('calibrate', '--model', name, '--models', models, ...lists);
}
