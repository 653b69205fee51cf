const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** How long the wall clock must have gone as fast as the monotonic one before rows are removed, in milliseconds: after the start, … */
const SETTLED_MS = HOUR_MS;
/** … and after a jump. */
const SETTLED_AFTER_JUMP_MS = DAY_MS;
/** Difference between the clocks that is no jump yet. */
const DRIFT_MS = 5 * 60_000;

interface RetentionOptions {
  readonly days: number;
  /** Returns milliseconds since 1970. */
  readonly wall: () => number;
  /** Returns milliseconds since some moment; it never jumps. */
  readonly monotonic: () => number;
  readonly onProblem: (reason: string) => void;
}

/**
 * Says when old rows are removed, and which. Removed rows do not come back when a clock that was wrong is right again, so a wall clock is
 * believed only after it has gone with the monotonic one for a while.
 */
export class Retention {
  readonly #options: RetentionOptions;
  /** Wall clock less monotonic clock, since `#since` on the monotonic clock. */
  #offset: number;
  #since: number;
  #settledMs = SETTLED_MS;
  #prunedAt = Number.NEGATIVE_INFINITY;

  constructor(options: RetentionOptions) {
    this.#options = options;
    this.#since = options.monotonic();
    this.#offset = options.wall() - this.#since;
  }

  /** Compares the clocks. @returns the time before which rows are too old, in milliseconds since 1970; nothing where none are to be removed now. */
  check(): number | undefined {
    const { days, wall, monotonic, onProblem } = this.#options;
    const now = monotonic();
    const jump = wall() - now - this.#offset;
    if (Math.abs(jump) > DRIFT_MS) {
      this.#offset += jump;
      this.#since = now;
      this.#settledMs = SETTLED_AFTER_JUMP_MS;
      onProblem(`the system clock jumped by ${Math.round(jump / 1000)} s; for a day nothing is removed from the log`);
    }
    if (now - this.#since < this.#settledMs || now - this.#prunedAt < HOUR_MS) return undefined;
    return now + this.#offset - days * DAY_MS;
  }

  /** Takes note that old rows were removed: the next are due in an hour. */
  pruned(): void {
    this.#prunedAt = this.#options.monotonic();
  }
}
