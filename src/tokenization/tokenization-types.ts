/** One query–passage pair, or one text, as token ids. */
export interface EncodedRow {
  /** Token ids with special tokens, without padding. Rows of a request share one buffer, so copy before transferring. */
  readonly ids: Int32Array;
  /**
   * Index at which the second segment (token type 1) starts: after the first separator. `ids.length` for models with one token type
   * (RoBERTa, ModernBERT).
   */
  readonly secondSegment: number;
  /** Whether tokens of the query or the passage were cut. */
  readonly truncated: boolean;
}

/** Which side is cut when a pair is too long for the model. */
export type Truncation = 'longest_first' | 'only_second';

/** How a too long passage is scored: cut, or in overlapping windows whose scores are pooled. */
export type LongPassages = 'truncate' | 'max' | 'mean';

export interface PairOptions {
  /** The largest length of a pair in tokens, special tokens included. */
  readonly maxLength: number;
  /** The most tokens used of the query; the rest is cut. Default: no limit. */
  readonly maxQueryTokens?: number | undefined;
  readonly truncation: Truncation;
  /** The largest number of tokens used of a passage; the rest is cut. Default: no limit. */
  readonly maxPassageTokens?: number | undefined;
  /** Where tokens are cut: `left` keeps the end of the passage, and of the query if it is cut. */
  readonly side: 'left' | 'right';
  readonly longPassages: LongPassages;
  readonly windowOverlap: number;
  /** The most windows of a passage; text behind them is in no row. Default: no limit. */
  readonly maxWindows?: number | undefined;
  /**
   * Whether every passage is read to its end. False: passages of more than 65,536 characters are read until the kept tokens suffice, and
   * `fullLengths` is then a lower bound. Rows, `truncated` and `queryCut` are the same. Default: true.
   */
  readonly exactLengths?: boolean;
  /** What a model with a template looks for. Default: the template's own; without a template it has no effect. */
  readonly instruction?: string | undefined;
  /** What stands before each of texts that are read by themselves, and is not cut; it counts in their limits. Default: nothing. */
  readonly prefix?: string | undefined;
  /** The key of the caller. Requests of one key share its turn among others. Default: the request has a turn of its own. */
  readonly share?: string;
}

export interface EncodedRequest {
  /** The rows of all passages in order: one for each passage, or one for each of its windows. */
  readonly rows: readonly EncodedRow[];
  /** `passageOf[r]` is the index of the passage of row r. */
  readonly passageOf: Int32Array;
  /** For each passage, whether some of its tokens are in no row. */
  readonly truncated: readonly boolean[];
  /** For each passage, the tokens of the query that are in none of its rows. */
  readonly queryCut: Int32Array;
  /** For each passage, whether `maxLength` cut its pair, rather than a limit on query, passage or windows. */
  readonly overLength: readonly boolean[];
  /** For each passage, the tokens of the uncut pair, special tokens included; at least these without `exactLengths`. */
  readonly fullLengths: Int32Array;
  /** Tokens of all rows. */
  readonly tokens: number;
}

export interface TokenOptions {
  /** Whether the special tokens of the template stand around each text. */
  readonly special: boolean;
  /** The most tokens of all texts together, special ones not counted. */
  readonly atMost: number;
}

/** The tokens of one text. */
export interface TextTokens {
  readonly ids: Int32Array;
  /** How many of them the template has put before the text, and after it. */
  readonly before: number;
  readonly after: number;
}

/** The tokens of several texts. */
export interface TokenizedTexts {
  readonly texts: readonly TextTokens[];
  /** The text of every token that occurs, by id. */
  readonly spelling: ReadonlyMap<number, string>;
}

/** Tokenizes pairs for one model folder: in a pool of threads for serving, in the calling thread for training and tests. */
export interface PairTokenizer {
  readonly folder: string;
  /** The padding id. An EncodedRow has no padding. */
  readonly padId: number;
  /** Equal for tokenizers that make the same rows from the same texts and options, whatever their folder. */
  readonly pairKey?: string;
  /**
   * Tokenizes the query and every passage and assembles the rows. Lone surrogates count as U+FFFD.
   * @throws WinnowError `invalid_field` if `maxLength` leaves no room, `shutting_down` after close; the signal's reason when aborted.
   */
  encode(
    query: string,
    passages: readonly string[],
    options: PairOptions,
    signal?: AbortSignal,
  ): Promise<EncodedRequest>;
  /**
   * Tokenizes texts by themselves, each with the special tokens of a single text around it. The rows are those of passages without a query:
   * options that cut queries have no effect, and `queryCut` is 0.
   * @throws WinnowError as `encode`.
   */
  encodeTexts(texts: readonly string[], options: PairOptions, signal?: AbortSignal): Promise<EncodedRequest>;
  close(): Promise<void>;
}

/** A tokenizer that also says what single texts are made of. */
export interface TextTokenizer extends PairTokenizer {
  /**
   * Tokenizes texts by themselves, uncut, each as the first of a pair without a second one.
   * @throws WinnowError `invalid_field` (`texts`) for more tokens than `atMost`, `shutting_down` after close; the signal's reason when aborted.
   */
  tokens(texts: readonly string[], options: TokenOptions, signal?: AbortSignal): Promise<TokenizedTexts>;
}
