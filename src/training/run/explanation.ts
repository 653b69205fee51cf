import { join } from 'node:path';
import { pairsWithin } from '../../registry/pair-limits.ts';
import { temporaryFolder } from '../../util/files.ts';
import { recipeTokenizer } from '../interaction/tokenizer.ts';
import { openValidations } from '../measure/validations.ts';
import { createObjective } from '../objectives/catalog.ts';
import { findBackbone } from '../recipe/backbone-folder.ts';
import { warmupSteps } from '../recipe/conflicts.ts';
import type { LoadedRecipe, Recipe } from '../recipe/recipe.ts';
import { loadBackbone, trainable } from '../step/backbone.ts';
import { parameterCount } from '../step/trainable.ts';
import { checkFiles } from './checks.ts';
import { withSteps } from './epochs.ts';
import { LeakSearch, type Leaks } from './leaks.ts';
import { type DataFacts, readData } from './read-data.ts';
import { train } from './trainer.ts';

/** What `train --explain` prints: settings, data, weights, memory and time of a recipe on this machine. */
interface Explanation {
  /** Every setting, defaults included. */
  readonly recipe: Recipe;
  readonly objective: { readonly name: string; readonly needsJudgements: boolean; readonly needsTeacher: boolean };
  readonly data: DataFacts;
  /** Absent where the recipe has none. */
  readonly validation?: {
    readonly measure: string;
    readonly queries: number;
    readonly passages: number;
    readonly firstStage: number;
    readonly notes: readonly string[];
    /** Texts that also stand in the training lists; absent where the recipe allows them. */
    readonly leaks?: Leaks;
  };
  readonly steps: {
    readonly total: number;
    readonly warmup: number;
    readonly listsAStep: number;
    readonly passagesAStep: number;
    readonly passesOverTheData: number;
    readonly validations: number;
    readonly checkpoints: number;
  };
  readonly weights: {
    readonly trainedTensors: number;
    readonly trained: number;
    readonly frozenTensors: number;
    readonly frozen: number;
    /** Matrices of the encoder with an adapter; only with `lora`. */
    readonly adapters?: number;
    readonly freshHead: boolean;
    /** How many tensors of the backbone's folder are not read, and the first names. */
    readonly leftOut?: string;
  };
  /** In mebibytes. */
  readonly memory: { readonly weightsAndMoments: number; readonly peakMeasured: number };
  readonly time: { readonly stepMs: number; readonly stepsMeasured: number; readonly trainingMinutes: number };
}

const MIB = 2 ** 20;

interface Looked {
  readonly data: DataFacts;
  readonly validation?: NonNullable<Explanation['validation']>;
}

/** Opens the validation set as the run would and measures its first stage, and reads the training data once. */
async function lookAtData(loaded: LoadedRecipe): Promise<Looked> {
  const { recipe, folder } = loaded;
  if (!recipe.validation) return { data: await readData(loaded, undefined) };
  const tokenizer = await recipeTokenizer(await findBackbone(recipe.backbone, folder), recipe);
  try {
    const opened = await openValidations(recipe.validation, folder, tokenizer, pairsWithin(recipe));
    const { measure, queries, passages, firstStage, notes } = opened;
    const search = recipe.validation.leaks === 'allow' ? undefined : new LeakSearch(opened);
    const data = await readData(loaded, search);
    const facts = { measure, queries, passages, firstStage: Number(firstStage.toFixed(4)), notes };
    return { data, validation: { ...facts, ...(search && { leaks: search.found() }) } };
  } finally {
    await tokenizer.close();
  }
}

const round = (x: number): number => Number(x.toPrecision(3));

async function countWeights({ recipe, folder }: LoadedRecipe): Promise<Explanation['weights']> {
  const backbone = await loadBackbone(await findBackbone(recipe.backbone, folder), recipe);
  const [trained, frozen] = [trainable(backbone), backbone.weights.filter((weight) => weight.frozen)];
  return {
    trainedTensors: trained.length,
    trained: parameterCount(trained),
    frozenTensors: frozen.length,
    frozen: parameterCount(frozen),
    ...(recipe.lora && { adapters: backbone.adapters.length }),
    freshHead: backbone.freshHead,
    ...(backbone.leftOut !== undefined && { leftOut: backbone.leftOut }),
  };
}

/**
 * Copies of each trained weight that a run holds. Updated on the host: weight, two moments, gradient. Updated in the graph: weight and
 * moments, each read from one buffer and written to another. Accumulation adds sums of gradients.
 */
const COPIES = { host: { plain: 4, accumulating: 5 }, graph: { plain: 6, accumulating: 8 } } as const;

function weightMemory({ trained, frozen }: Explanation['weights'], recipe: Recipe): number {
  const { batch, ema, optimizer, stepsPerRun, provider } = recipe;
  const onHost =
    stepsPerRun === 1 && (optimizer.place === 'host' || (optimizer.place === 'auto' && provider === 'cpu'));
  const copies = COPIES[onHost ? 'host' : 'graph'][batch.accumulate > 1 ? 'accumulating' : 'plain'];
  return (4 * (trained * (copies + (ema > 0 ? 1 : 0)) + frozen)) / MIB;
}

/** Takes a few steps in a temporary folder. @returns milliseconds per step, without the first run, which allocates and compiles. */
async function timeSteps({ recipe, folder, source }: LoadedRecipe): Promise<{ stepMs: number; stepsMeasured: number }> {
  const { validation: _v, publish: _p, ...rest } = recipe;
  const steps = Math.min(recipe.steps, Math.max(3, 2 * recipe.stepsPerRun));
  // What is left out was looked at before.
  const data = { ...recipe.data, maxLeftOut: 1 };
  const runFolder = await temporaryFolder('explain');
  const interaction = rest.interaction && { ...rest.interaction, passages: join(runFolder.path, 'passages') };
  const short = { ...rest, interaction, data, steps, checkpoint: { every: steps, keep: 1 } };
  const times: number[] = [];
  try {
    await train({ recipe: short, folder, source }, runFolder.path, { onStep: ({ ms }) => void times.push(ms) });
  } finally {
    await runFolder.remove();
  }
  const settled = times.length > 1 ? times.slice(Math.min(recipe.stepsPerRun, times.length - 1)) : times;
  return { stepMs: settled.reduce((a, b) => a + b, 0) / settled.length, stepsMeasured: settled.length };
}

/**
 * Explains a recipe without running it: reads the data once (twice more for in-batch negatives), loads the backbone and times a few steps.
 * @throws WinnowError as `train` does.
 */
export async function explainRecipe(given: LoadedRecipe): Promise<Explanation> {
  checkFiles(given);
  const { data, validation } = await lookAtData(given);
  const loaded = await withSteps(given, undefined, async () => data.lists);
  const { recipe } = loaded;
  const { name, needs } = createObjective(recipe.objective);
  const weights = await countWeights(loaded);
  const { stepMs, stepsMeasured } = await timeSteps(loaded);
  const listsAStep = recipe.batch.queries * recipe.batch.accumulate;
  return {
    recipe,
    objective: { name, needsJudgements: needs.relevance, needsTeacher: needs.teacher },
    data,
    ...(validation && { validation }),
    steps: {
      total: recipe.steps,
      warmup: warmupSteps(recipe),
      listsAStep,
      passagesAStep: Math.round(listsAStep * data.passagesAList),
      passesOverTheData: round((recipe.steps * listsAStep) / Math.max(1, data.lists)),
      validations: recipe.validation ? Math.ceil(recipe.steps / recipe.validation.every) + 1 : 0,
      checkpoints: Math.ceil(recipe.steps / recipe.checkpoint.every),
    },
    weights,
    memory: {
      weightsAndMoments: round(weightMemory(weights, recipe)),
      peakMeasured: Math.round(process.resourceUsage().maxRSS / 1024),
    },
    time: { stepMs: round(stepMs), stepsMeasured, trainingMinutes: round((stepMs * recipe.steps) / 60_000) },
  };
}
