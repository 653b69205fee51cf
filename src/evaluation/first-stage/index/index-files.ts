import { join } from 'node:path';

/** Files of an index folder. */
export interface IndexFiles {
  /** JSON with format, counts and sizes of the other files. */
  readonly facts: string;
  /** Terms in order, each with its number of passages and the bytes of its postings. */
  readonly terms: string;
  /** Every 128th term with its place in `terms` and in `postings`. */
  readonly blocks: string;
  /** Passages and frequencies of each term, in the order of the terms. */
  readonly postings: string;
  /** Length of each passage in terms, 32 bits each. */
  readonly lengths: string;
  /** Ids of the passages in order. */
  readonly ids: string;
}

export const filesOf = (folder: string): IndexFiles => ({
  facts: join(folder, 'index.json'),
  terms: join(folder, 'terms.bin'),
  blocks: join(folder, 'blocks.bin'),
  postings: join(folder, 'postings.bin'),
  lengths: join(folder, 'lengths.bin'),
  ids: join(folder, 'ids.bin'),
});

export const INDEX_FORMAT = 1;

/** Terms between two entries of `blocks`. */
export const BLOCK_TERMS = 128;

export interface IndexFacts {
  readonly format: typeof INDEX_FORMAT;
  readonly analyzer: 'english';
  /** Passages in the index, those without a term included. */
  readonly passages: number;
  /** Passages with at least one term: N of the formula, as Lucene counts. */
  readonly withTerms: number;
  /** Sum of all lengths. */
  readonly tokens: number;
  readonly terms: number;
  readonly postings: number;
  /** Bytes of each file, to detect a damaged folder. */
  readonly bytes: Readonly<Record<Exclude<keyof IndexFiles, 'facts'>, number>>;
}
