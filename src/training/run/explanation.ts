import { relative } from 'node:path';
import { pairsWithin } from '../../registry/pair-limits.ts';
import { createLocalTokenizer } from '../../tokenization/local.ts';
import { temporaryFolder } from '../../util/files.ts';
import { withInBatch } from '../data/in-batch.ts';
import type { CandidateList, ListSource } from '../data/list-types.ts';
import { openSources } from '../data/sources.ts';
import type { Validation } from '../measure/validation.ts';
import { openValidations } from '../measure/validations.ts';
import { createObjective } from '../objectives/catalog.ts';
import { findBackbone } from '../recipe/backbone-folder.ts';
import { type LoadedRecipe, type Recipe, warmupSteps } from '../recipe/recipe.ts';
import { loadBackbone, trainable } from '../step/backbone.ts';
import { parameterCount } from '../step/trainable.ts';
import { checkFiles } from './checks.ts';
import { withSteps } from './epochs.ts';
import { findLeaks, type Leaks } from './leaks.ts';
import { knownPairs } from './stream.ts';
import { train } from './trainer.ts';

/** What `train --explain` prints: settings, data, weights, memory and time of a recipe on this machine. */
interface Explanation {
  /** Every setting, defaults included. */
  readonly recipe: Recipe;
  readonly objective: { readonly name: string; readonly needsJudgements: boolean; readonly needsTeacher: boolean };
  readonly data: {
    readonly files: readonly string[];
    /** Usable lists of one pass; a lower bound where counting stopped. */
    readonly lists: number;
    readonly counted: 'all' | 'stopped';
    readonly passagesAList: number;
    readonly leftOut: Readonly<Record<string, number>>;
  };
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

/** Lists after which counting stops, so that files of tens of millions of rows are not read to the end. */
const COUNTED = 200_000;
const MIB = 2 ** 20;

/** Returns one pass over the lists, with in-batch negatives of as many lists as a step takes. */
async function listsOf({ seed, batch, data }: Recipe, source: ListSource): Promise<AsyncIterable<CandidateList>> {
  const { inBatch: count } = data.sampler;
  if (count === 0) return source.lists(seed);
  const options = { count, known: await knownPairs(source) };
  const size = batch.queries * batch.accumulate;
  return (async function* () {
    let step: CandidateList[] = [];
    for await (const list of source.lists(seed)) {
      if (step.push(list) < size) continue;
      yield* withInBatch(step, options, seed, 0);
      step = [];
    }
    yield* withInBatch(step, options, seed, 0);
  })();
}

async function countData({ recipe, folder }: LoadedRecipe): Promise<Explanation['data']> {
  const source = await openSources(recipe.data, folder, createObjective(recipe.objective).needs);
  let lists = 0;
  let passages = 0;
  try {
    for await (const list of await listsOf(recipe, source)) {
      lists++;
      passages += list.passages.length;
      if (lists === COUNTED) break;
    }
    return {
      files: source.files.map((file) => relative(folder, file.path)),
      lists,
      counted: lists < COUNTED ? 'all' : 'stopped',
      passagesAList: round(passages / Math.max(1, lists)),
      leftOut: source.skipped(),
    };
  } finally {
    await source.close?.();
  }
}

/** Looks for texts of a validation set in all training lists; undefined where the recipe allows them. */
async function leaksOf(validation: Validation, { recipe, folder }: LoadedRecipe): Promise<Leaks | undefined> {
  if (recipe.validation?.leaks === 'allow') return undefined;
  const source = await openSources(recipe.data, folder);
  try {
    return await findLeaks(validation, source);
  } finally {
    await source.close?.();
  }
}

/** Opens the validation set as the run would, and measures its first stage. */
async function lookAtValidation(loaded: LoadedRecipe): Promise<Explanation['validation']> {
  const { recipe, folder } = loaded;
  if (!recipe.validation) return undefined;
  const tokenizer = await createLocalTokenizer(await findBackbone(recipe.backbone, folder));
  try {
    const opened = await openValidations(recipe.validation, folder, tokenizer, pairsWithin(recipe));
    const { measure, queries, passages, firstStage, notes } = opened;
    const leaks = await leaksOf(opened, loaded);
    return { measure, queries, passages, firstStage: Number(firstStage.toFixed(4)), notes, ...(leaks && { leaks }) };
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
  const short = { ...rest, steps, checkpoint: { every: steps, keep: 1 } };
  const runFolder = await temporaryFolder('explain');
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
 * Explains a recipe without running it: reads the data once, loads the backbone and times a few steps.
 * @throws WinnowError as `train` does.
 */
export async function explainRecipe(given: LoadedRecipe): Promise<Explanation> {
  checkFiles(given);
  const loaded = await withSteps(given);
  const { recipe } = loaded;
  const { name, needs } = createObjective(recipe.objective);
  const data = await countData(loaded);
  const validation = await lookAtValidation(loaded);
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
