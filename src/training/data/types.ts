/** A query with its candidate list: what every objective learns from. */
export interface CandidateList {
  readonly qid: string;
  readonly query: string;
  /** One id a passage, by which judgements and teacher runs name it; absent for lists that were never told apart. */
  readonly docids?: readonly string[];
  readonly passages: readonly string[];
  /** One grade a passage; 0 is not relevant. */
  readonly relevance: readonly number[];
  /** One teacher score a passage, any scale; absent where the source has none. */
  readonly teacher?: readonly number[];
}

/** A list as its source has it, before sampling. */
export type IdentifiedList = CandidateList & { readonly docids: readonly string[] };

/** A file training data came from, as the model card names it. */
interface DataFile {
  readonly path: string;
  readonly sha256: string;
}

/** Counts what is left out, by reason. */
export interface SkipCount {
  skip(reason: string): void;
  skipped(): Readonly<Record<string, number>>;
}

export function skipCount(): SkipCount {
  const counts: Record<string, number> = {};
  return {
    skip(reason) {
      counts[reason] = (counts[reason] ?? 0) + 1;
    },
    skipped: () => counts,
  };
}

/** Whole lists of one source: what sampling, scoring, mining and teaching start from. */
export interface RawSource {
  /** Paths of every file it is read from. */
  readonly files: readonly string[];
  /** One pass, in the order of the files, or shuffled as the seed says. @param counts takes what is left out. */
  lists(counts: SkipCount, seed?: number): AsyncIterable<IdentifiedList>;
  close(): Promise<void>;
}

/** Lists in an order that the seed alone decides, so that a resumed run sees what the uninterrupted one would have seen. */
export interface ListSource {
  /** One pass over the data. */
  lists(seed: number): AsyncIterable<CandidateList>;
  readonly files: readonly DataFile[];
  /** Lists or rows left out so far, by reason. */
  skipped(): Readonly<Record<string, number>>;
  close?(): Promise<void>;
}
