import type { PairOptions } from '../../tokenization/tokenization-types.ts';

/** Returns how pairs are cut in training, validation and calibration: as a server does by the manifest. */
export const pairOptions = (recipe: { readonly maxLength: number; readonly maxQueryTokens: number }): PairOptions => ({
  maxLength: recipe.maxLength,
  maxQueryTokens: recipe.maxQueryTokens,
  truncation: 'longest_first',
  side: 'right',
  longPassages: 'truncate',
  windowOverlap: 0,
});
