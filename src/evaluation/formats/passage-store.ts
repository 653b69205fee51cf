import { WinnowError } from '../../errors.ts';

export interface Passage {
  readonly id: string;
  /** Text that models score: title and body joined if both exist. */
  readonly text: string;
}

/** The passages of a collection, in memory or on disk. */
export interface PassageStore {
  readonly size: number;
  /**
   * Reads texts in the order of `ids`.
   *
   * @throws WinnowError `invalid_input` that names an id which is not in the collection.
   */
  texts(ids: readonly string[]): Promise<string[]>;
  /** Yields all passages in the order of the collection. */
  entries(): AsyncIterable<Passage>;
  close(): Promise<void>;
}

/** Parses one passage from one line of a collection. */
export type PassageParser = (text: string, where: string) => Passage;

/** Returns the error for a passage that `source` does not have. */
export const missingPassage = (source: string, id: string): WinnowError =>
  new WinnowError('invalid_input', { where: source, expected: `a passage ${id}`, got: 'none' });
