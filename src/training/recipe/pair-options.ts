import type { PairOptions } from '../../tokenization/tokenization-types.ts';

/** How pairs are cut in training, validation and calibration: as a server cuts them that follows the manifest. */
export const pairOptions = (recipe: { readonly maxLength: number; readonly maxQueryTokens: number }): PairOptions => ({
  maxLength: recipe.maxLength,
  maxQueryTokens: recipe.maxQueryTokens,
  truncation: 'longest_first',
  side: 'right',
  longPassages: 'truncate',
  windowOverlap: 0,
});
