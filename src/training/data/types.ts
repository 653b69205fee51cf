/** A query with its candidate list: what every objective learns from. */
export interface CandidateList {
  readonly qid: string;
  readonly query: string;
  readonly passages: readonly string[];
  /** One grade a passage; 0 is not relevant. */
  readonly relevance: readonly number[];
  /** One teacher score a passage, any scale; absent where the source has none. */
  readonly teacher?: readonly number[];
}

/** A file training data came from, as the model card names it. */
export interface DataFile {
  readonly path: string;
  readonly sha256: string;
}

/** Lists in an order that the seed alone decides, so that a resumed run sees what the uninterrupted one would have seen. */
export interface ListSource {
  /** One pass over the data. */
  lists(seed: number): AsyncIterable<CandidateList>;
  readonly files: readonly DataFile[];
  /** Lists or rows left out so far, by reason. */
  skipped(): Readonly<Record<string, number>>;
}
