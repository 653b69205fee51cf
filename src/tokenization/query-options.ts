import type { PairOptions } from './tokenization-types.ts';

/**
 * Returns how the query of a bi-encoder is read: as one row, cut by the limits of queries; windows are for passages. It is read to its end,
 * because the answer says how much was left out.
 */
export const queryOptions = ({ maxPassageTokens: _, maxQueryTokens, ...options }: PairOptions): PairOptions => ({
  ...options,
  ...(maxQueryTokens === undefined ? {} : { maxPassageTokens: maxQueryTokens }),
  longPassages: 'truncate',
  exactLengths: true,
});
