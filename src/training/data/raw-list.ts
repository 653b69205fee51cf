import { describe, WinnowError } from '../../errors.ts';
import type { JsonObject } from '../../util/json-files.ts';
import type { ColumnNames } from './columns.ts';
import type { Labeling } from './list-types.ts';

/** A row of a file, with ids or texts. */
export interface RawList {
  /** Text of the query, or its id where a file of queries is given. */
  readonly query: string;
  /** Texts, or ids where a collection is given. */
  readonly passages: readonly string[];
  /** Ids beside texts, where a row has both and judgements need them. */
  readonly qid?: string;
  readonly docids?: readonly string[];
  readonly relevance: readonly number[];
  readonly teacher?: readonly number[];
  /** One per passage; absent where all are 1. */
  readonly weights?: readonly number[];
  readonly labeled?: Labeling;
  /** File and line; of the first row, where several became one list. */
  readonly where?: string;
  /** Rows that became this list; 1 where absent. */
  readonly rows?: number;
}

/** A row by column name, with its file and line. */
export interface DataRecord {
  readonly cells: JsonObject;
  readonly where: string;
}

/** How the columns and labels of rows are read. */
export interface RowReading {
  /** Lowest label of a relevant passage. */
  readonly minRelevance?: number | undefined;
  /** Labels that stand for 0 and 1. */
  readonly labelScale?: readonly [number, number] | undefined;
  /** Roles of columns whose names are not known. */
  readonly columns?: ColumnNames | undefined;
  /** Files that ids are looked up in: rows hold ids where they are given. */
  readonly queries?: string | undefined;
  readonly collection?: string | undefined;
}

/** Why a row gives no list. */
export type RowSkip =
  | 'unknown query'
  | 'unknown passage'
  | 'positive equals negative'
  | 'no positive'
  | 'query that is not text'
  | 'no passage that is text'
  | 'label that is not a number'
  | 'labels that differ from the passages in number'
  | 'scores that differ from the passages in number';

/** Returns the error for a row that does not parse. @param where file and line. */
export const badRow = (where: string, expected: string, got: unknown): WinnowError =>
  new WinnowError('invalid_input', { where, expected, got: describe(got) });

/** Parses one line. @param where file and line, for errors. */
export type LineReader = (text: string, where: string) => RawList | RowSkip;
