import { KEY_LEVELS, QUERY_LEVELS } from '../../onnx/rewrites/int8-scores.ts';
import { largest } from '../../onnx/rewrites/linears.ts';
import type { InputStatistics } from './calibration.ts';

/** Shares of the calibrated ranges that 8 bits cover; what lies beyond is clipped. */
export interface Clips {
  readonly query: number;
  readonly key: number;
}

const SHARES = [1, 0.85, 0.7, 0.55] as const;

/** Returns the states as the engine sees them. */
function rounded(states: Float32Array, step: number, levels: number): Float32Array {
  return states.map((x) => step * Math.max(-levels, Math.min(levels, Math.round(x / step))));
}

/** Returns states whose channel c is multiplied by `factors[c]`. */
const scaled = ({ sample, count }: InputStatistics, factors: Float32Array): Float32Array =>
  sample.subarray(0, count * factors.length).map((x, i) => x * factors[i % factors.length]!);

/** Writes the scores of each query with each key, per head, [queries, keys, heads]. */
function scores(queries: Float32Array, keys: Float32Array, channels: number, size: number): Float32Array {
  const [n, m, heads] = [queries.length / channels, keys.length / channels, channels / size];
  const out = new Float32Array(n * m * heads);
  for (let i = 0, at = 0; i < n; i++)
    for (let j = 0; j < m; j++)
      for (let h = 0; h < heads; h++, at++) {
        let sum = 0;
        for (let c = h * size; c < (h + 1) * size; c++) sum += queries[i * channels + c]! * keys[j * channels + c]!;
        out[at] = sum;
      }
  return out;
}

function squaredError(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) ** 2;
  return sum;
}

/**
 * Chooses how much of the ranges of queries and keys 8 bits cover, by the error of the scores of sampled queries with sampled keys.
 * @param balance factor of each channel of the queries; keys are divided by it.
 * @param size channels of a head.
 */
export function chooseClips(query: InputStatistics, key: InputStatistics, balance: Float32Array, size: number): Clips {
  const inverse = balance.map((t) => 1 / t);
  const [q, k] = [scaled(query, balance), scaled(key, inverse)];
  const channels = balance.length;
  const exact = scores(q, k, channels, size);
  const [queryRange, keyRange] = [
    largest(query.channelMaxima.map((x, c) => x * balance[c]!)),
    largest(key.channelMaxima.map((x, c) => x * inverse[c]!)),
  ];
  const keys = SHARES.map((share) => rounded(k, (share * keyRange) / KEY_LEVELS || 1, KEY_LEVELS));
  let best: Clips & { error: number } = { query: 1, key: 1, error: Number.POSITIVE_INFINITY };
  for (const queryShare of SHARES) {
    const queries = rounded(q, (queryShare * queryRange) / QUERY_LEVELS || 1, QUERY_LEVELS);
    SHARES.forEach((keyShare, i) => {
      const error = squaredError(scores(queries, keys[i]!, channels, size), exact);
      if (error < best.error) best = { query: queryShare, key: keyShare, error };
    });
  }
  return { query: best.query, key: best.key };
}
