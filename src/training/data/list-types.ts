import { WinnowError } from '../../errors.ts';
import type { PairSet } from './pair-set.ts';

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
  /** Weight of each passage's loss, of at least 0; absent where all are 1. */
  readonly weights?: readonly number[];
  /** Present where the source states a label for each passage, so that grade 0 is a statement. */
  readonly labeled?: Labeling;
}

/** A whole list of a source, before sampling. */
export type IdentifiedList = CandidateList & { readonly docids: readonly string[] };

/** Returns the list with the passages at these places, in this order. */
export function pick<List extends Pick<CandidateList, 'docids' | 'passages' | 'relevance' | 'teacher' | 'weights'>>(
  list: List,
  places: readonly number[],
): List {
  const { docids, teacher, weights } = list;
  return {
    ...list,
    ...(docids && { docids: places.map((p) => docids[p]!) }),
    passages: places.map((p) => list.passages[p]!),
    relevance: places.map((p) => list.relevance[p]!),
    ...(teacher && { teacher: places.map((p) => teacher[p]!) }),
    ...(weights && { weights: places.map((p) => weights[p]!) }),
  };
}

/** Whether all passages of a list have one weight. */
export const hasOneWeight = ({ weights }: Pick<CandidateList, 'weights'>): boolean =>
  weights === undefined || weights.every((weight) => weight === weights[0]);

/** Whether a list's scores are its labels, which stand in for a teacher where the source has none. */
export const hasOnlyLabels = ({ labeled, teacher, relevance }: CandidateList): boolean =>
  labeled !== undefined && teacher?.every((score, p) => score === relevance[p]) === true;

/** A file of training data. */
interface DataFile {
  readonly path: string;
  readonly sha256: string;
}

/** What was left out for one reason. */
export interface LeftOut {
  readonly reason: string;
  /** Rows, lists or passages. */
  readonly count: number;
  /** File and line of the first one, or file and query. */
  readonly first?: string;
}

/** Counts skipped lists and rows, and passages that leave a list, by reason. */
export interface SkipCount {
  /** Counts a list or row of which nothing is left. @param rows rows that the list was made of. */
  skip(reason: string, where?: string, rows?: number): void;
  /** Counts passages that leave a list, which itself stays. */
  drop(reason: string, passages: number, where?: string): void;
  /** Receives a column that is not read. */
  unread?(column: string, where: string): void;
  /** Receives what has no effect, as a sentence, with the place of the first of it. */
  idle?(what: string, where: string): void;
}

/** Reason for passages that leave a list because the collection lacks them. */
export const UNKNOWN_PASSAGE = 'passage of a list that the collection lacks';

/** Skips that are as the recipe or the files want them: they are no fault of the rows. */
const WANTED: ReadonlySet<string> = new Set(['held out', 'judged query without a list', 'query without judgements']);

/** A count of skips that remembers where each reason was first met. */
export interface Skips extends SkipCount {
  skipped(): Readonly<Record<string, number>>;
  leftOut(): readonly LeftOut[];
  /** Number of rows that are left out, but for those that the recipe leaves out. */
  rows(): number;
  /** Columns that are not read, with the first place of each. */
  columns(): ReadonlyMap<string, string>;
  /** Sentences on what has no effect, with the first place of each. */
  idles(): ReadonlyMap<string, string>;
  /** Returns a sentence for each column that is not read, and for what else has no effect, with the first place. */
  notes(): readonly string[];
}

/** Creates a count of skips. */
export function skipCount(): Skips {
  const found = new Map<string, { count: number; first?: string | undefined }>();
  const columns = new Map<string, string>();
  const idle = new Map<string, string>();
  let rows = 0;
  const add = (reason: string, count: number, where: string | undefined): void => {
    if (count <= 0) return;
    const before = found.get(reason);
    if (before) before.count += count;
    else found.set(reason, { count, first: where });
  };
  return {
    skip(reason, where, each = 1) {
      add(reason, 1, where);
      if (!WANTED.has(reason)) rows += each;
    },
    drop: (reason, passages, where) => add(reason, passages, where),
    unread: (column, where) => void (columns.has(column) || columns.set(column, where)),
    skipped: () => Object.fromEntries([...found].map(([reason, { count }]) => [reason, count])),
    leftOut: () =>
      [...found].map(([reason, { count, first }]) => ({ reason, count, ...(first !== undefined && { first }) })),
    rows: () => rows,
    idle: (what, where) => void idle.set(what, where),
    columns: () => columns,
    idles: () => idle,
    notes: () => [
      ...[...columns].map(([column, where]) => `column "${column}" is not read (first: ${where})`),
      ...[...idle].map(([what, where]) => `${what} (first: ${where})`),
    ],
  };
}

/** Returns the place of the first one by reason, of those that have one. */
export const firstPlaces = (leftOut: readonly LeftOut[]): Readonly<Record<string, string>> =>
  Object.fromEntries(leftOut.flatMap(({ reason, first }) => (first === undefined ? [] : [[reason, first]])));

/** Returns the error for data of which nothing is left. @param leftOut what was skipped, by reason. */
export const nothingLeft = (
  where: string,
  expected: string,
  leftOut: Readonly<Record<string, number>>,
  found: number | 'none' = 'none',
): WinnowError =>
  new WinnowError('invalid_input', { where, expected, got: `${found} (left out: ${JSON.stringify(leftOut)})` });

/** How many rows of a source are trained on. */
export interface Usage {
  readonly path: string;
  readonly used: number;
  readonly unused: number;
  readonly leftOut: readonly LeftOut[];
  /** What is not read or has no effect, a sentence each. */
  readonly notes: readonly string[];
  /** Whether the pass was read to its end. */
  readonly complete: boolean;
}

/** Rows that a list was made of, and the place of the first. */
interface Origin {
  readonly where: string;
  readonly rows: number;
}

const ORIGIN = Symbol('origin');

/** Remembers where a list comes from in a property that copies of the list do not have: what is trained on does not depend on it. */
export const withOrigin = <List extends object>(list: List, origin: Origin): List =>
  Object.defineProperty(list, ORIGIN, { value: origin });

/** Returns where a list comes from; undefined for sources without lines. */
export const originOf = (list: object): Origin | undefined => Reflect.get(list, ORIGIN);

/** Whole lists of one source, for sampling, scoring, mining and teaching. */
export interface RawSource {
  /** Paths of all files that are read. */
  readonly files: readonly string[];
  /** Yields one pass over the lists, in the order of the files or, with a seed, shuffled. @param counts receives skips. */
  lists(counts: SkipCount, seed?: number): AsyncIterable<IdentifiedList>;
  /** Returns the ids of all passages judged relevant, in the list or not; absent where the lists name them all. */
  relevantIds?(qid: string): readonly string[];
  /** Pairs of a drop list, by `pairKey`. */
  readonly dropped?: ReadonlySet<number>;
  close(): Promise<void>;
}

/** Sampled lists in an order that the seed alone decides, so that a resumed run sees the same lists as an uninterrupted one. */
export interface ListSource {
  /** Yields one pass over the data. */
  lists(seed: number): AsyncIterable<CandidateList>;
  /** Yields the lists of all sources once, before sampling, in the order of the files. */
  whole(): AsyncIterable<CandidateList>;
  /** Adds the pairs that are known not to be negatives: the relevant passages of all lists and judgements, and drop lists. Reads the data once. */
  addKnown(pairs: PairSet): Promise<void>;
  readonly files: readonly DataFile[];
  /** Returns the number of lists and rows skipped so far, by reason. */
  skipped(): Readonly<Record<string, number>>;
  /** Returns what was left out so far, by reason, with the first place of each. */
  leftOut(): readonly LeftOut[];
  /** Returns what was not read or had no effect so far, a sentence each. */
  notes(): readonly string[];
  /**
   * Counts, source by source, the rows that one pass over up to `lists` lists of each trains on and leaves out.
   * @param onList receives each list in the order of the files, and what a pass takes of it.
   */
  usage(
    seed: number,
    lists: number,
    onList?: (whole: CandidateList, sampled: readonly CandidateList[]) => void,
  ): AsyncIterable<Usage>;
  close?(): Promise<void>;
}
