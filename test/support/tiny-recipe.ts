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

/** Fields of runs that learn: lists of six passages, four queries a step, batches of like length. */
export const LEARNING = {
  data: { train: [{ format: 'jsonl', path: 'lists.jsonl' }], sampler: { negatives: 5 } },
  batch: { queries: 4, bucketBatches: 4 },
} as const;

/** Loads `tinyDocument` as a recipe in `folder`. */
export function tinyRecipe(folder: string, over: Record<string, unknown> = {}): LoadedRecipe {
  const document = tinyDocument(over);
  return { recipe: parseRecipe(document, 'test'), folder, source: JSON.stringify(document) };
}
