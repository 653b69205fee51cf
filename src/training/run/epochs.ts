import { WinnowError } from '../../errors.ts';
import { nothingLeft } from '../data/list-types.ts';
import { openSources } from '../data/sources.ts';
import { createObjective } from '../objectives/catalog.ts';
import { WARMUP_RULE, warmupSteps } from '../recipe/conflicts.ts';
import type { LoadedRecipe } from '../recipe/recipe.ts';

/** Returns the usable lists of one pass over the training data. @throws WinnowError `invalid_input` for none. */
export async function countLists({ recipe, folder }: LoadedRecipe): Promise<number> {
  const source = await openSources(recipe.data, folder, createObjective(recipe.objective).needs);
  try {
    let lists = 0;
    for await (const _ of source.lists(recipe.seed)) lists++;
    if (lists === 0) throw nothingLeft('training data', 'at least one list', source.skipped());
    return lists;
  } finally {
    await source.close?.();
  }
}

/**
 * Returns a recipe with the steps that its `epochs` are; the same one where it states `steps`. The data is read once to count its lists.
 * @param tell receives a line with the counts. @param count counts the usable lists of one pass.
 * @throws WinnowError `invalid_input` for data without lists, or where the warm-up takes all steps.
 */
export async function withSteps<T extends LoadedRecipe>(
  loaded: T,
  tell?: (line: string) => void,
  count: (loaded: LoadedRecipe) => Promise<number> = countLists,
): Promise<T> {
  const { epochs, batch } = loaded.recipe;
  if (epochs === undefined) return loaded;
  const lists = await count(loaded);
  if (lists === 0) throw nothingLeft('training data', 'at least one list', {});
  const steps = Math.ceil((epochs * lists) / (batch.queries * batch.accumulate));
  const recipe = { ...loaded.recipe, steps };
  tell?.(`epochs ${epochs} of ${lists} lists: ${steps} steps of ${batch.queries * batch.accumulate} lists`);
  if (warmupSteps(recipe) >= steps)
    throw new WinnowError('invalid_input', {
      where: 'recipe',
      expected: WARMUP_RULE,
      got: `${warmupSteps(recipe)} of ${steps} steps, which epochs ${epochs} of ${lists} lists are (schedule.warmup)`,
    });
  return { ...loaded, recipe };
}
