import type { RerankRequest } from './rerank-types.ts';
import type { CachedPairs } from './score-cache.ts';

interface CacheResult {
  readonly scores: Float32Array;
  readonly truncated: boolean[];
  readonly queryCut: Int32Array;
  readonly missing: readonly number[];
}

/** Reads the cached scores of a request. A pair known to be too long counts as missing, so that `checkLengths` refuses it. */
export function readCache(
  cached: CachedPairs | undefined,
  { passages, truncate }: Pick<RerankRequest, 'passages' | 'truncate'>,
): CacheResult {
  const scores = new Float32Array(passages.length);
  const truncated: boolean[] = new Array(passages.length).fill(false);
  const queryCut = new Int32Array(passages.length);
  const missing: number[] = [];
  passages.forEach((_, i) => {
    const known = cached?.get(i);
    if (!known || ((known.truncated || known.queryCut > 0) && !truncate)) missing.push(i);
    else {
      scores[i] = known.score;
      truncated[i] = known.truncated;
      queryCut[i] = known.queryCut;
    }
  });
  return { scores, truncated, queryCut, missing };
}

/**
 * Returns the passages to score so that no text is scored twice, and for each of `missing` the place of its text among them. A score depends
 * on its pair alone.
 */
export function distinct(passages: readonly string[], missing: readonly number[]) {
  const places = new Map<string, number>();
  const once: number[] = [];
  const placeOf = missing.map((i) => {
    const known = places.get(passages[i]!);
    if (known !== undefined) return known;
    places.set(passages[i]!, once.length);
    return once.push(i) - 1;
  });
  return { once, placeOf };
}
