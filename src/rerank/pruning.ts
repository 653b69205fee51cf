import type { ServedVersion } from '../registry/registry-types.ts';
import type { EncodedRequest } from '../tokenization/tokenization-types.ts';
import type { RerankRequest, UnprunedReason } from './rerank-types.ts';

/** The fields of a request that decide whether it is pruned. */
export type PruneOptions = Pick<RerankRequest, 'prune' | 'topN' | 'passages'>;

/** How a list is pruned, or why it is not. Neither where nothing asks for it. */
interface PrunePlan {
  /** How far below the early score of place `topN` a passage may be and stay. */
  readonly margin?: number;
  readonly unpruned?: UnprunedReason;
}

/** Returns the margin of a version; undefined where its calibration has none for such a recall. */
function marginFor(
  { counts, recalls, margins }: NonNullable<ServedVersion['pruning']>,
  topN: number,
  recall: number,
): number | undefined {
  const column = recalls.findIndex((calibrated) => calibrated >= recall);
  if (column < 0) return undefined;
  const above = counts.findIndex((count) => count >= topN);
  // Beyond the largest count the widest margin of all holds; between two counts the wider one.
  if (above < 0) return Math.max(...margins.map((row) => row[column]!));
  const below = counts[above] === topN ? above : Math.max(0, above - 1);
  return Math.max(margins[below]![column]!, margins[above]![column]!);
}

/**
 * Decides whether a request's list is pruned. A field of the request counts before the server's setting.
 * @param setting recall for requests that say nothing; 0: they are not pruned.
 */
export function prunePlan({ prune, topN, passages }: PruneOptions, version: ServedVersion, setting = 0): PrunePlan {
  const recall = prune === false ? 0 : (prune?.recall ?? setting);
  if (recall <= 0) return {};
  if (topN === undefined || topN >= passages.length) return { unpruned: 'no_top_n' };
  if (!version.pruning) return { unpruned: 'uncalibrated' };
  const margin = marginFor(version.pruning, topN, recall);
  return margin === undefined ? { unpruned: 'recall' } : { margin };
}

/** Returns which passages stay: those whose early score is at most `margin` below that of place `topN`, which always stays itself. */
export function survivors(early: Float32Array, topN: number, margin: number): boolean[] {
  const bound = early.toSorted()[Math.max(0, early.length - topN)]! - margin;
  return Array.from(early, (score) => score >= bound);
}

/** The rows of some passages of a request. */
type SomeRows = Pick<EncodedRequest, 'rows' | 'passageOf' | 'tokens'>;

/** Returns the rows of the passages at `places`; in `passageOf` a passage is its index in `places`. */
export function rowsOf({ rows, passageOf }: EncodedRequest, places: readonly number[]): SomeRows {
  const indexOf = new Map(places.map((place, i) => [place, i]));
  const kept = rows.flatMap((row, r) => {
    const index = indexOf.get(passageOf[r]!);
    return index === undefined ? [] : [{ row, index }];
  });
  return {
    rows: kept.map(({ row }) => row),
    passageOf: Int32Array.from(kept, ({ index }) => index),
    tokens: kept.reduce((sum, { row }) => sum + row.ids.length, 0),
  };
}
