import { createLocalTokenizer } from '../../tokenization/local.ts';
import type { PairTokenizer } from '../../tokenization/tokenization-types.ts';
import type { Recipe } from '../recipe/recipe.ts';
import { prefixesOf } from './encoder.ts';
import { readApart } from './rows.ts';

/** Opens the tokenizer of a backbone's folder as a recipe reads pairs: jointly, or apart for an interaction model. */
export async function recipeTokenizer(
  folder: string,
  { interaction }: Pick<Recipe, 'interaction'>,
): Promise<PairTokenizer> {
  const tokenizer = await createLocalTokenizer(folder);
  return interaction ? readApart(tokenizer, await prefixesOf(folder, interaction)) : tokenizer;
}
