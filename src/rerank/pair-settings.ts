import type { ServedVersion } from '../registry/registry-types.ts';
import type { LongPassages, PairOptions, Truncation } from '../tokenization/tokenization-types.ts';
import type { RerankRequest } from './rerank-types.ts';

/** How pairs are cut where a request does not say. */
export interface PairSettings {
  /** The most tokens of a query that are kept. */
  readonly maxQueryTokens: number;
  readonly truncation: Truncation;
  readonly longPassages: LongPassages;
  /** Tokens that neighboring windows share. */
  readonly windowOverlap: number;
}

export const DEFAULT_SETTINGS: PairSettings = {
  maxQueryTokens: 64,
  truncation: 'longest_first',
  longPassages: 'truncate',
  windowOverlap: 32,
};

type RequestOptions = Pick<RerankRequest, 'truncate' | 'truncation' | 'side' | 'longPassages' | 'maxPassageTokens'>;

/**
 * Returns how the pairs of a request are built. The request overrides the model's manifest, the manifest overrides the settings. Without
 * truncation the query is not capped either: a pair that is too long is refused, not cut.
 */
export function pairOptions(request: RequestOptions, version: ServedVersion, settings: PairSettings): PairOptions {
  const { maxLength } = version;
  return {
    maxLength,
    maxQueryTokens: request.truncate ? settings.maxQueryTokens : maxLength,
    truncation: request.truncation ?? version.truncation ?? settings.truncation,
    maxPassageTokens: request.maxPassageTokens,
    side: request.side ?? 'right',
    longPassages: request.longPassages ?? settings.longPassages,
    windowOverlap: settings.windowOverlap,
  };
}
