/** One query–passage pair as the model sees it. */
export interface EncodedRow {
  /** Token ids, special tokens included, no padding. */
  readonly ids: Int32Array;
  /** Index where the second segment (token type 1) starts: right behind the first separator. */
  readonly secondSegment: number;
  /** Whether tokens of the query or the passage were left out. */
  readonly truncated: boolean;
}

/** Which side loses tokens when a pair is longer than the model takes. */
export type Truncation = 'longest_first' | 'only_second';

/** What to do with a passage longer than fits: cut it, or score overlapping windows and pool. */
export type LongPassages = 'truncate' | 'max' | 'mean';

export interface PairOptions {
  /** Tokens a pair may have, special tokens included. */
  readonly maxLength: number;
  readonly maxQueryTokens: number;
  readonly truncation: Truncation;
  /** `left` keeps the end of the passage. */
  readonly side: 'left' | 'right';
  readonly longPassages: LongPassages;
  readonly windowOverlap: number;
}

export interface EncodedRequest {
  /** All windows of all passages; without windows exactly one row a passage, in order. */
  readonly rows: readonly EncodedRow[];
  /** `passageOf[r]` is the passage index row r belongs to. */
  readonly passageOf: Int32Array;
  /** One flag a passage: whether text of it was left out of every row. */
  readonly truncated: readonly boolean[];
  /** Tokens over all rows. */
  readonly tokens: number;
}

/** Tokenises pairs for the model folder it was made for. Implementations: worker pool (serving), in-process (training, tests). */
export interface PairTokenizer {
  readonly folder: string;
  /** Id that pads a row; never seen by a reader of EncodedRow. */
  readonly padId: number;
  encode(
    query: string,
    passages: readonly string[],
    options: PairOptions,
    signal?: AbortSignal,
  ): Promise<EncodedRequest>;
  close(): Promise<void>;
}
