import { Pace } from '../tokenization/pace.ts';
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

/** UTF-16 units of texts compared between two turns of the event loop, about 3 ms: a text is hashed when it is first looked for. */
const COMPARED_UNITS_A_TURN = 1 << 21;

/**
 * Returns the passages to score so that no text is scored twice, and for each of `missing` the place of its text among them. A score depends
 * on its pair alone. Rejects with the signal's reason.
 */
export async function distinct(passages: readonly string[], missing: readonly number[], signal?: AbortSignal) {
  const places = new Map<string, number>();
  const once: number[] = [];
  const placeOf: number[] = [];
  const pace = new Pace(COMPARED_UNITS_A_TURN, signal);
  for (const i of missing) {
    const text = passages[i]!;
    const known = places.get(text);
    if (known === undefined) places.set(text, once.length);
    placeOf.push(known ?? once.push(i) - 1);
    const pause = pace.spend(text.length);
    if (pause) await pause;
  }
  return { once, placeOf };
}
