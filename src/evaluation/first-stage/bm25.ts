import { byteToLength, lengthToByte } from './lengths.ts';

/** How BM25 weighs: term saturation, length normalization, and which lengths it sees. */
export interface Bm25Params {
  readonly k1: number;
  readonly b: number;
  /** `lucene`: lengths as one byte holds them; `exact`: lengths as they are. */
  readonly lengths: 'lucene' | 'exact';
}

/** Anserini's defaults for passages. */
export const ANSERINI: Bm25Params = { k1: 0.9, b: 0.4, lengths: 'lucene' };

/** Lucene's inverse document frequency: ln(1 + (N − n + ½) / (n + ½)), never negative. */
export const idf = (passages: number, matching: number): number =>
  Math.log(1 + (passages - matching + 0.5) / (matching + 0.5));

/** k1 (1 − b + b length / average) of a passage: what its term frequencies are held against. */
export function lengthNorm(length: number, average: number, { k1, b, lengths }: Bm25Params): number {
  const seen = lengths === 'lucene' ? byteToLength(lengthToByte(length)) : length;
  return k1 * (1 - b + (b * seen) / average);
}
