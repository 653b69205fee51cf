import { byteToLength, lengthToByte } from './lengths.ts';

/** Parameters of BM25: term saturation, length normalization, and the precision of lengths. */
export interface Bm25Params {
  readonly k1: number;
  readonly b: number;
  /** `lucene`: lengths rounded to one byte, as Lucene stores them; `exact`: unrounded. */
  readonly lengths: 'lucene' | 'exact';
}

/** Anserini's defaults for passages. */
export const ANSERINI: Bm25Params = { k1: 0.9, b: 0.4, lengths: 'lucene' };

/** Returns Lucene's inverse document frequency: ln(1 + (N − n + ½) / (n + ½)), never negative. */
export const idf = (passages: number, matching: number): number =>
  Math.log(1 + (passages - matching + 0.5) / (matching + 0.5));

/** Returns k1 (1 − b + b length / average) of a passage, the norm of its term frequencies. */
export function lengthNorm(length: number, average: number, { k1, b, lengths }: Bm25Params): number {
  const seen = lengths === 'lucene' ? byteToLength(lengthToByte(length)) : length;
  return k1 * (1 - b + (b * seen) / average);
}
