/** What a version or a recipe states about the length of its pairs. */
export interface PairLimits {
  /** The most tokens of a pair, special ones included. */
  readonly maxLength: number;
  /** The most tokens of a query; undefined: as many as the pair has room for. */
  readonly maxQueryTokens?: number | undefined;
  /** Which side is cut when a pair is too long. */
  readonly truncation?: 'longest_first' | 'only_second' | undefined;
}

/** Returns the smallest of the limits that are stated; undefined if none is. */
export function smallestLimit(...limits: readonly (number | undefined)[]): number | undefined {
  const stated = limits.filter((limit) => limit !== undefined);
  return stated.length > 0 ? Math.min(...stated) : undefined;
}

/**
 * Returns how the pairs of a model are cut where nothing else is asked for. Training, calibration, self-tests and requests all start from
 * it, so that a model gets the pairs it was trained on.
 */
export function pairsWithin({ maxLength, maxQueryTokens, truncation = 'longest_first' }: PairLimits) {
  return {
    maxLength,
    maxQueryTokens,
    truncation,
    side: 'right',
    longPassages: 'truncate',
    windowOverlap: 0,
  } as const;
}
