import { describe, WinnowError } from '../../errors.ts';
import type { Labeling } from './list-types.ts';

/** A row of a file, with ids or texts. */
export interface RawList {
  /** Text of the query, or its id where a file of queries is given. */
  readonly query: string;
  /** Texts, or ids where a collection is given. */
  readonly passages: readonly string[];
  readonly relevance: readonly number[];
  readonly teacher?: readonly number[];
  readonly labeled?: Labeling;
  /** Number of negatives that were left out because they equal a positive. */
  readonly overlapping?: number;
}

/** How the labels of rows become grades. */
export interface LabelReading {
  /** Lowest label of a relevant passage. */
  readonly minRelevance?: number | undefined;
  /** Labels that stand for 0 and 1. */
  readonly labelScale?: readonly [number, number] | undefined;
}

/** Why a row gives no list. Rows that do not parse are errors, not skips. */
export type RowSkip = 'unknown query' | 'unknown passage' | 'positive equals negative' | 'no positive';

/** Returns the error for a row that does not parse. @param where file and line. */
export const badRow = (where: string, expected: string, got: unknown): WinnowError =>
  new WinnowError('invalid_input', { where, expected, got: describe(got) });

/** Parses one line. @param where file and line, for errors. @param reading what labels mean. */
export type RowReader = (text: string, where: string, reading: LabelReading) => RawList | RowSkip;
