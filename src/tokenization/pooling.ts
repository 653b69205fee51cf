/** How the scores of a passage's windows become one. */
type Pooling = 'max' | 'mean';

/**
 * Returns one score for each passage from the scores of its rows (fp32 logits). `passageOf[r]` is the passage of row r; every passage must
 * have a row. The mean is computed in double precision.
 */
export function poolWindows(
  scores: ArrayLike<number>,
  passageOf: Int32Array,
  passages: number,
  pooling: Pooling,
): Float32Array {
  return pooling === 'max' ? maxima(scores, passageOf, passages) : means(scores, passageOf, passages);
}

function maxima(scores: ArrayLike<number>, passageOf: Int32Array, passages: number): Float32Array {
  const pooled = new Float32Array(passages).fill(Number.NEGATIVE_INFINITY);
  // Math.max returns NaN if a score is NaN; the caller reports it.
  for (let r = 0; r < passageOf.length; r++) {
    const p = passageOf[r]!;
    pooled[p] = Math.max(pooled[p]!, scores[r]!);
  }
  return pooled;
}

function means(scores: ArrayLike<number>, passageOf: Int32Array, passages: number): Float32Array {
  const sums = new Float64Array(passages);
  const counts = new Int32Array(passages);
  for (let r = 0; r < passageOf.length; r++) {
    sums[passageOf[r]!]! += scores[r]!;
    counts[passageOf[r]!]!++;
  }
  return Float32Array.from(sums, (sum, p) => sum / counts[p]!);
}
