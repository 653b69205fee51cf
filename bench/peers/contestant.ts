/** One of the programs that are compared, open: processes that score the same pairs. */
export interface Contestant {
  /** Its libraries with their versions. */
  readonly version: string;
  /** Its processes, without their descendants. */
  readonly pids: readonly number[];
  /** Scores the pairs of a timed round once. */
  round(): Promise<void>;
  /** Returns the scores of all pairs, in batches with others. */
  together(): Promise<Float64Array>;
  /** Returns the scores of the pairs of `work.alone`, each in a batch of its own. */
  alone(): Promise<Float64Array>;
  /** Returns the scores of the pairs of `work.alone`, in batches of pairs in the order given, whatever their lengths. */
  mixed(): Promise<Float64Array>;
  close(): Promise<void>;
}

/** Processes of a contestant, and threads of each. */
export interface Layout {
  readonly processes: number;
  readonly threads: number;
}
