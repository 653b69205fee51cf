/** One query–passage pair as the model sees it. */
export interface EncodedRow {
  /** Token ids, special tokens included, no padding. A view: rows of a request share one buffer, so copy before transferring. */
  readonly ids: Int32Array;
  /**
   * Index where the second segment (token type 1) starts: right behind the first separator. `ids.length` for models that know one
   * token type only (RoBERTa, ModernBERT), so that all their types are 0.
   */
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
  /** Tokens of one passage that are used at the most; the rest counts as cut. No limit if absent. */
  readonly maxPassageTokens?: number | undefined;
  /** `left` keeps the end of the passage (and, where the query is cut too, of the query). */
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
  /** One number a passage: tokens the whole pair would have, uncut, special tokens included. */
  readonly fullLengths: Int32Array;
  /** Tokens over all rows. */
  readonly tokens: number;
}

/** Tokenizes pairs for the model folder it was made for. Implementations: worker pool (serving), in-process (training, tests). */
export interface PairTokenizer {
  readonly folder: string;
  /** Id that pads a row; never seen by a reader of EncodedRow. */
  readonly padId: number;
  /** Equal for tokenizers that make the same rows of the same texts and options, whatever folder they came from. */
  readonly pairKey?: string;
  /**
   * Tokenizes the query and every passage and assembles the rows. Lone surrogates in a text count as U+FFFD.
   * @throws WinnowError `invalid_field` where `maxLength` leaves no room, `shutting_down` after close; rejects with the signal's reason
   * when aborted.
   */
  encode(
    query: string,
    passages: readonly string[],
    options: PairOptions,
    signal?: AbortSignal,
  ): Promise<EncodedRequest>;
  close(): Promise<void>;
}
