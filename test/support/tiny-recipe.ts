import { type LoadedRecipe, parseRecipe } from '../../src/training/recipe/recipe.ts';

/** A recipe of one short step on the tiny model, `tiny`, and its data, `lists.jsonl`. */
export const tinyDocument = (over: Record<string, unknown> = {}): Record<string, unknown> => ({
  name: 'tiny',
  backbone: 'tiny',
  objective: 'InfoNCE',
  data: { train: [{ format: 'jsonl', path: 'lists.jsonl' }], sampler: { negatives: 3 } },
  batch: { queries: 2, bucketBatches: 1 },
  steps: 1,
  maxLength: 16,
  dropout: 'off',
  threads: 1,
  ...over,
});

/** Loads `tinyDocument` as a recipe in `folder`. */
export const tinyRecipe = (folder: string, over: Record<string, unknown> = {}): LoadedRecipe => ({
  recipe: parseRecipe(tinyDocument(over), 'test'),
  folder,
  source: '',
});
