/** Failures until a tokenizer is taken out, its first and longest pause, and how long a failure counts. */
const FAILURES = 2;
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;
const REMEMBERED_MS = 300_000;

interface Record {
  failures: number;
  at: number;
  until: number;
}

/**
 * Takes tokenizers out that cost threads: after two chunks that ended their threads for 1 s, after each further one for twice as long, up to
 * a minute. A failure is forgotten five minutes after the last one.
 */
export class TokenizerBreaker {
  readonly #records = new Map<string, Record>();
  readonly #now: () => number;

  /** @param now Milliseconds of a clock that never jumps. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Returns the failures of a tokenizer that are remembered. */
  failures(textKey: string): number {
    return this.#recent(textKey)?.failures ?? 0;
  }

  /** Counts a chunk that ended its threads. */
  fail(textKey: string): void {
    const now = this.#now();
    const failures = this.failures(textKey) + 1;
    const pause = failures < FAILURES ? 0 : Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - FAILURES));
    this.#records.set(textKey, { failures, at: now, until: now + pause });
  }

  /** Returns the milliseconds that a tokenizer stays out; 0 for one in use. */
  remainingMs(textKey: string): number {
    return Math.max(0, (this.#recent(textKey)?.until ?? 0) - this.#now());
  }

  #recent(textKey: string): Record | undefined {
    const record = this.#records.get(textKey);
    if (record && this.#now() - record.at > REMEMBERED_MS) {
      this.#records.delete(textKey);
      return undefined;
    }
    return record;
  }
}
