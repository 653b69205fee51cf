import { WinnowError } from '../../errors.ts';

/** Whether the grades of a list are labels as the file has them, or were judged by `minRelevance`. */
export type Labeling = 'as given' | 'judged';

/** A query with its candidate list. */
export interface CandidateList {
  readonly qid: string;
  readonly query: string;
  /** One id per passage, as in judgements and teacher runs; absent where the source has no ids. */
  readonly docids?: readonly string[];
  readonly passages: readonly string[];
  /** One grade per passage; 0 is not relevant. */
  readonly relevance: readonly number[];
  /** One teacher score per passage, in any scale; absent where the source has none. */
  readonly teacher?: readonly number[];
  /** Present where the source states a label for each passage, so that grade 0 is a statement. */
  readonly labeled?: Labeling;
}

/** A whole list of a source, before sampling. */
export type IdentifiedList = CandidateList & { readonly docids: readonly string[] };

/** Returns the list with the passages at these places, in this order. */
export function pick<List extends Pick<CandidateList, 'docids' | 'passages' | 'relevance' | 'teacher'>>(
  list: List,
  places: readonly number[],
): List {
  const { docids, teacher } = list;
  return {
    ...list,
    ...(docids && { docids: places.map((p) => docids[p]!) }),
    passages: places.map((p) => list.passages[p]!),
    relevance: places.map((p) => list.relevance[p]!),
    ...(teacher && { teacher: places.map((p) => teacher[p]!) }),
  };
}

/** A file of training data. */
interface DataFile {
  readonly path: string;
  readonly sha256: string;
}

/** Counts skipped lists and rows, and passages that leave a list, by reason. */
export interface SkipCount {
  /** Counts a list or row of which nothing is left. */
  skip(reason: string): void;
  /** Counts passages that leave a list, which itself stays. */
  drop(reason: string, passages: number): void;
  skipped(): Readonly<Record<string, number>>;
}

/** Reason for passages that leave a list because the collection lacks them. */
export const UNKNOWN_PASSAGE = 'passage of a list that the collection lacks';

/** Creates a count of skips. */
export function skipCount(): SkipCount {
  const counts: Record<string, number> = {};
  return {
    skip(reason) {
      counts[reason] = (counts[reason] ?? 0) + 1;
    },
    drop(reason, passages) {
      if (passages > 0) counts[reason] = (counts[reason] ?? 0) + passages;
    },
    skipped: () => counts,
  };
}

/** Returns the error for data of which nothing is left. @param leftOut what was skipped, by reason. */
export const nothingLeft = (where: string, expected: string, leftOut: Readonly<Record<string, number>>): WinnowError =>
  new WinnowError('invalid_input', { where, expected, got: `none (left out: ${JSON.stringify(leftOut)})` });

/** Whole lists of one source, for sampling, scoring, mining and teaching. */
export interface RawSource {
  /** Paths of all files that are read. */
  readonly files: readonly string[];
  /** Yields one pass over the lists, in the order of the files or, with a seed, shuffled. @param counts receives skips. */
  lists(counts: SkipCount, seed?: number): AsyncIterable<IdentifiedList>;
  close(): Promise<void>;
}

/** Sampled lists in an order that the seed alone decides, so that a resumed run sees the same lists as an uninterrupted one. */
export interface ListSource {
  /** Yields one pass over the data. */
  lists(seed: number): AsyncIterable<CandidateList>;
  /** Yields the lists of all sources once, before sampling, in the order of the files. */
  whole(): AsyncIterable<CandidateList>;
  readonly files: readonly DataFile[];
  /** Returns the number of lists and rows skipped so far, by reason. */
  skipped(): Readonly<Record<string, number>>;
  close?(): Promise<void>;
}
