import type { ServedVersion } from '../registry/registry-types.ts';
import type { LongPassages, PairOptions, Truncation } from '../tokenization/tokenization-types.ts';
import type { RerankRequest } from './types.ts';

/** How pairs are cut where a request does not say. */
export interface PairSettings {
  /** Query tokens kept at the most. */
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

type Wishes = Pick<RerankRequest, 'truncate' | 'truncation' | 'side' | 'longPassages' | 'maxPassageTokens'>;

/**
 * What the request says wins over the model's manifest, the manifest over the settings. Without truncation the query is not capped
 * either: a pair that is too long shall be refused, not cut.
 */
export function pairOptions(request: Wishes, version: ServedVersion, settings: PairSettings): PairOptions {
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
