import { pairsWithin, smallestLimit } from '../registry/pair-limits.ts';
import type { ServedVersion } from '../registry/registry-types.ts';
import type { LongPassages, PairOptions, Truncation } from '../tokenization/tokenization-types.ts';
import { takesInstruction } from '../util/text-template.ts';
import type { RerankRequest } from './rerank-types.ts';

/** How pairs are cut where a request does not say. */
export interface PairSettings {
  /** The most tokens of a query that are kept, whatever the model; undefined: what the model says. */
  readonly maxQueryTokens?: number | undefined;
  readonly truncation: Truncation;
  readonly longPassages: LongPassages;
  /** Tokens that neighboring windows share. */
  readonly windowOverlap: number;
}

export const DEFAULT_SETTINGS: PairSettings = {
  truncation: 'longest_first',
  longPassages: 'truncate',
  windowOverlap: 32,
};

/** The fields of a request that decide how its pairs are made and cut. */
export type CutOptions = Pick<
  RerankRequest,
  | 'truncate'
  | 'truncation'
  | 'side'
  | 'longPassages'
  | 'maxPairTokens'
  | 'maxQueryTokens'
  | 'maxPassageTokens'
  | 'maxWindows'
  | 'instruction'
>;

/** Whether a model reads an instruction. */
const takes = ({ template }: Pick<ServedVersion, 'template'>): boolean =>
  template !== undefined && takesInstruction(template);

/** Returns a note for an answer whose models did not use the request's instruction; nothing where one did, or there is none. */
export const instructionNote = (
  { instruction }: Pick<RerankRequest, 'instruction'>,
  versions: readonly Pick<ServedVersion, 'template'>[],
): { readonly instructionIgnored?: true } => (instruction && !versions.some(takes) ? { instructionIgnored: true } : {});

/** Returns how long passages are scored. A request that only limits windows asks for windows; one window is a cut passage. */
function longPassagesOf({ longPassages, maxWindows }: CutOptions, settings: PairSettings): LongPassages {
  if (longPassages !== undefined || maxWindows === undefined) return longPassages ?? settings.longPassages;
  if (maxWindows === 1) return 'truncate';
  return settings.longPassages === 'truncate' ? 'max' : settings.longPassages;
}

/**
 * Returns how the pairs of a request are built. The request overrides the model's manifest, the manifest overrides the settings; of several
 * limits the smallest counts. Without truncation only the request's own limit caps the query: a pair that is too long is refused, not cut.
 */
export function pairOptions(request: CutOptions, version: ServedVersion, settings: PairSettings): PairOptions {
  const { maxPairTokens, maxQueryTokens, maxPassageTokens, maxWindows } = request;
  const caps = request.truncate ? [version.maxQueryTokens, settings.maxQueryTokens] : [];
  const longPassages = longPassagesOf(request, settings);
  return {
    ...pairsWithin({
      maxLength: Math.min(version.maxLength, maxPairTokens ?? version.maxLength),
      maxQueryTokens: smallestLimit(maxQueryTokens, ...caps),
      truncation: request.truncation ?? version.truncation ?? settings.truncation,
    }),
    maxPassageTokens,
    side: request.side ?? 'right',
    longPassages,
    windowOverlap: settings.windowOverlap,
    ...(takes(version) && request.instruction ? { instruction: request.instruction } : {}),
    ...(longPassages !== 'truncate' && maxWindows !== undefined ? { maxWindows } : {}),
  };
}
