import type { Timings } from './rerank-types.ts';

/** Parts of one request: stages of a cascade run in turn; queries of one body and arms of an experiment run side by side. */
type RequestParts = 'stages' | 'queries' | 'arms';

/**
 * Returns the timings of a whole request from those of its parts, in milliseconds.
 *
 * - `inferMs` adds up: each part's is its own share of engine time.
 * - `queueMs` adds up over stages; waits side by side overlap, so there the longest counts.
 * - `tokenizeMs` adds up, except over arms: they tokenize the same texts and may wait for one shared encoding, so the longest counts.
 * - `totalMs` is the longest, because every part measures it from the start of the request.
 */
export function combineTimings(parts: RequestParts, timings: readonly Timings[]): Timings {
  const sum = (field: keyof Timings) => timings.reduce((total, one) => total + one[field], 0);
  const longest = (field: keyof Timings) => Math.max(...timings.map((one) => one[field]));
  return {
    tokenizeMs: parts === 'arms' ? longest('tokenizeMs') : sum('tokenizeMs'),
    queueMs: parts === 'stages' ? sum('queueMs') : longest('queueMs'),
    inferMs: sum('inferMs'),
    totalMs: longest('totalMs'),
  };
}
