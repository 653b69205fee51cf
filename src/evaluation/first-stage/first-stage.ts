import type { Queries } from '../formats/topics.ts';
import type { Run } from '../measures/evaluation.ts';

/** Where candidate lists come from. */
export interface FirstStage {
  /** How tables name it: `BM25 (k1 .9, b .4)`. */
  readonly name: string;
  /**
   * The best `depth` passages of every query, best first. A query that nothing is found for has an empty list.
   *
   * @param onDone called as queries are answered, with how many are.
   */
  retrieve(queries: Queries, depth: number, onDone?: (queries: number) => void): Promise<Run>;
}
