import type { Queries } from '../formats/topics.ts';
import type { Run } from '../measures/evaluation.ts';

/** A source of candidate lists. */
export interface FirstStage {
  /** Name in tables: `BM25 (k1 .9, b .4)`. */
  readonly name: string;
  /**
   * Retrieves the best `depth` passages of every query, best first; an empty list if nothing matches.
   *
   * @param onDone called with the number of queries answered so far.
   */
  retrieve(queries: Queries, depth: number, onDone?: (queries: number) => void): Promise<Run>;
}
