import type { Ties } from './hits.ts';

/** Gain of each grade: the grade itself, 2^grade − 1, or a table whose missing grades stay linear. */
export type Gains = 'linear' | 'exp' | ReadonlyMap<number, number>;

/** Every parameter of measures; a kind uses those its rule accepts. */
export interface MeasureParams {
  /** Number of ranks considered, from the top. */
  readonly cutoff?: number | undefined;
  /** Least grade that counts as relevant. */
  readonly rel: number;
  readonly gains: Gains;
  readonly ties: Ties;
  readonly judgedOnly: boolean;
  /** Persistence of rank-biased measures. */
  readonly p?: number | undefined;
  readonly beta?: number | undefined;
  readonly recall?: number | undefined;
  /** Greatest grade of the judgements' scale. */
  readonly maxRel?: number | undefined;
}
