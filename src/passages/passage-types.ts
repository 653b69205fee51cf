/** The graph of a version that computes what is kept of passages, and for whom. */
export interface PassageModel {
  readonly name: string;
  readonly version: string;
  /** Of all that its values depend on: its files, external data included, and whether it was rewritten for this machine. */
  readonly sha256: string;
  /** Number format of its file. */
  readonly variant: string;
  readonly provider: string;
  /** Entries of different salts never answer each other's requests: the name of an API key. Empty: shared. */
  readonly salt: string;
}

/** What a kept value depends on, apart from the token ids of its row. */
export interface PassageScope {
  readonly model: PassageModel;
  readonly passagePrefix: string;
  /** The cut of passages, as text; rows with equal token ids and different cuts have entries of their own. */
  readonly cut: string;
}

/** 128-bit keys of rows, one after another: four words each. */
export type PassageKeys = Uint32Array<ArrayBuffer>;

/** Words of one key. */
export const KEY_WORDS = 4;

/** One entry, as it goes to a file and comes back. */
export interface PassageEntry {
  readonly model: PassageModel;
  /** The four words of its key. */
  readonly key: PassageKeys;
  /** Tokens of the row. */
  readonly tokens: number;
  readonly value: Uint8Array;
}

/** Which entries: those whose version has all fields that are given; `{}` is every entry. */
export type PassageFilter = Partial<PassageModel>;

/** Why entries were removed. */
type ClearReason =
  /** The cache was emptied: the entries must not come back. */
  | 'cleared'
  /** Their version was unloaded or replaced. The values are right still, should the same file be loaded again. */
  | 'unloaded';

/**
 * Receives what happens to entries, such as for a file on disk. Calls are synchronous and must return at once and not throw. What they
 * receive is valid during the call only: copy what is kept. Entries that `load` brings back cause no `onInsert`.
 */
export interface PassageObserver {
  onInsert?(entry: PassageEntry): void;
  /** An entry left, because others needed its bytes. */
  onEvict?(key: PassageKeys, model: PassageModel): void;
  /** The entries that a filter names left. Called once, when all are gone; `onEvict` is not called for them. */
  onClear?(filter: PassageFilter, why: ClearReason): void;
}

/** Counts of one version since the start; `entries` and `bytes` as they are now. */
interface PassageCounts {
  readonly model: PassageModel;
  readonly entries: number;
  /** Memory of its entries, their part of the tables included. */
  readonly bytes: number;
  /** Rows whose value was there, or was being computed for another request. */
  readonly hits: number;
  /** Rows that were computed. */
  readonly misses: number;
  readonly evictions: number;
  /** Milliseconds in the engine for the misses, as given to `noteEncoded`. */
  readonly encodeMs: number;
  /** Values that were not kept, because they are larger than an eighth of the cache or all of it was being read. */
  readonly unkept: number;
}

export interface PassageStats {
  /** The bound on `bytes`. */
  readonly limitBytes: number;
  /** Memory of the cache: values, unused parts of slabs, and tables. */
  readonly bytes: number;
  readonly entries: number;
  readonly models: readonly PassageCounts[];
}

/**
 * How urgent the request is that computes a value. A request waits only for another of the same share that is no less urgent, and not much
 * longer: any other may stand behind it in the queue.
 */
export interface Urgency {
  /** Whose request it is: shares divide the engine among them. */
  readonly share: string;
  /** Smaller is more urgent: the lane first, then the priority within it. */
  readonly lane: number;
  readonly priority: number;
}

/** Rows of one request whose values are to be read. */
export interface PassageRequest extends Urgency {
  readonly model: PassageModel;
  readonly keys: PassageKeys;
  /** Tokens of each row. */
  readonly lengths: ArrayLike<number>;
  /** Rejects when the request ends first. */
  guard<T>(promise: Promise<T>): Promise<T>;
}

/** The values of a request's rows. */
export interface HeldPassages {
  /** One for each row. They do not change while they are held, and must not be changed or kept for longer. */
  readonly values: readonly Uint8Array[];
  /** For each row, whether this request computed its value. A row with the tokens of an earlier one is no miss of its own. */
  readonly missed: readonly boolean[];
}

/**
 * Computes the values of rows. The first call is always made, and names the rows that this request computes: none where all are kept or on
 * their way. Later calls name rows that another request was computing when it ended without a value.
 */
export type ComputePassages = (rows: readonly number[]) => Promise<readonly Uint8Array[]>;

/** Keeps values of passages in memory, bounded in bytes. */
export interface PassageCache {
  /** Hashes rows, with turns of the event loop for other work in between. */
  keys(scope: PassageScope, rows: readonly { readonly ids: Int32Array }[]): Promise<PassageKeys>;
  /**
   * Calls `use` with the value of every row and returns its result. Values that are missing are computed, each by one request at a time:
   * others wait for it, and compute the value themselves if that request is cancelled, fails or misses its deadline.
   * @throws what `compute`, `use` and `guard` throw; never the error of another request.
   */
  hold<T>(request: PassageRequest, compute: ComputePassages, use: (held: HeldPassages) => T | Promise<T>): Promise<T>;
  /** Returns for each key whether its value is in memory. Counts no hit and changes no order. */
  has(keys: PassageKeys): readonly boolean[];
  /** Puts an entry back, such as from a file. Returns false if it is there already or does not fit without an eviction. */
  load(entry: PassageEntry): boolean;
  /** Removes entries, with turns of the event loop for other work in between. Returns how many, and their bytes. */
  clear(filter: PassageFilter, why?: ClearReason): Promise<{ readonly entries: number; readonly bytes: number }>;
  /** Adds to the time in the engine that misses of a version took, in milliseconds. */
  noteEncoded(model: PassageModel, ms: number): void;
  stats(): PassageStats;
}
