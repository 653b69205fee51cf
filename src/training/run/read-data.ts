import { relative } from 'node:path';
import { withInBatch } from '../data/in-batch.ts';
import { type CandidateList, firstPlaces, type LeftOut, type ListSource, type Usage } from '../data/list-types.ts';
import { drawnOfEach, openSources } from '../data/sources.ts';
import { createObjective } from '../objectives/catalog.ts';
import type { LoadedRecipe, Recipe } from '../recipe/recipe.ts';
import type { LeakSearch } from './leaks.ts';
import { refuseLeftOut } from './left-out.ts';
import { knownPairs } from './stream.ts';

/** What `--explain` says about the training data. */
export interface DataFacts {
  readonly files: readonly string[];
  /** Usable lists of one pass; a lower bound where counting stopped. */
  readonly lists: number;
  readonly counted: 'all' | 'stopped';
  readonly passagesAList: number;
  readonly leftOut: Readonly<Record<string, number>>;
  /** File and line of the first one by reason; absent where nothing was left out. */
  readonly firstLeftOut?: Readonly<Record<string, string>>;
  /** What is not read or has no effect, a sentence each; absent for nothing. */
  readonly notes?: readonly string[];
}

/** Lists of a source after which counting stops, so that files of tens of millions of rows are not read to the end. */
const COUNTED = 200_000;

interface Count {
  lists: number;
  passages: number;
}

/** Adds the passages of one pass with in-batch negatives, of as many lists as a step takes. The data is read twice more for it. */
async function countInBatch({ seed, batch, data }: Recipe, source: ListSource): Promise<Count> {
  const options = { count: data.sampler.inBatch, known: await knownPairs(source) };
  const size = batch.queries * batch.accumulate;
  const counted = { lists: 0, passages: 0 };
  let step: CandidateList[] = [];
  const add = (): void => {
    for (const { passages } of withInBatch(step, options, seed, 0)) counted.passages += passages.length;
    counted.lists += step.length;
    step = [];
  };
  for await (const list of source.lists(seed)) {
    if (step.push(list) === size) add();
    if (counted.lists >= COUNTED) break;
  }
  add();
  return counted;
}

function joined(usages: readonly Usage[]): LeftOut[] {
  const all = new Map<string, LeftOut>();
  for (const each of usages.flatMap(({ leftOut }) => leftOut)) {
    const before = all.get(each.reason);
    all.set(each.reason, before ? { ...before, count: before.count + each.count } : each);
  }
  return [...all.values()];
}

/** Returns the counts of one pass: until one of several sources, which are drawn by their weights, ends. */
function passOf({ data, seed }: Recipe, counts: readonly Count[]): Count {
  const weights = data.train.map(({ weight }) => weight);
  const drawn = drawnOfEach(
    counts.map(({ lists }) => lists),
    weights,
    seed,
  );
  return {
    lists: drawn.reduce((sum, lists) => sum + lists, 0),
    passages: counts.reduce((sum, { lists, passages }, i) => sum + (drawn[i]! * passages) / Math.max(1, lists), 0),
  };
}

/**
 * Reads the training data once: counts what a pass trains on and leaves out, and looks for texts of the validation set.
 * @throws WinnowError `invalid_input` as the readers do, and where more rows are left out than the recipe allows.
 */
export async function readData({ recipe, folder }: LoadedRecipe, search: LeakSearch | undefined): Promise<DataFacts> {
  const source = await openSources(recipe.data, folder, createObjective(recipe.objective).needs);
  const usages: Usage[] = [];
  const counts: Count[] = [];
  let count: Count = { lists: 0, passages: 0 };
  const meet = (list: CandidateList, sampled: readonly CandidateList[]): void => {
    search?.meet(list);
    count.lists += sampled.length;
    for (const { passages } of sampled) count.passages += passages.length;
  };
  try {
    // Leaks and epochs need all lists.
    const most = search || recipe.epochs !== undefined ? Number.POSITIVE_INFINITY : COUNTED;
    for await (const usage of source.usage(recipe.seed, most, meet)) {
      refuseLeftOut(usage, recipe.data.maxLeftOut);
      usages.push(usage);
      counts.push(count);
      count = { lists: 0, passages: 0 };
    }
    const pass = passOf(recipe, counts);
    const each = recipe.data.sampler.inBatch > 0 ? await countInBatch(recipe, source) : pass;
    const leftOut = joined(usages);
    const notes = usages.flatMap((usage) => usage.notes);
    return {
      files: source.files.map((file) => relative(folder, file.path)),
      lists: pass.lists,
      counted: usages.every(({ complete }) => complete) ? 'all' : 'stopped',
      passagesAList: Number((each.passages / Math.max(1, each.lists)).toPrecision(3)),
      leftOut: Object.fromEntries(leftOut.map(({ reason, count: n }) => [reason, n])),
      ...(leftOut.some(({ first }) => first !== undefined) && { firstLeftOut: firstPlaces(leftOut) }),
      ...(notes.length > 0 && { notes }),
    };
  } finally {
    await source.close?.();
  }
}
