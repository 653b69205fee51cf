import { WinnowError } from '../errors.ts';
import { type Clock, monotonicClock } from '../util/clock.ts';

interface ReadinessOptions {
  /**
   * A real inference by the default model through everything that a request uses; throws if that is impossible. `signal` aborts when the check
   * is given up.
   */
  readonly check: (signal: AbortSignal) => Promise<void>;
  /** Whether the files of the default model are still there; throws if not. It runs also while traffic shows that inference works. */
  readonly checkFiles?: () => Promise<void>;
  /** Whether no host can run a batch and one is to be replaced any moment: a failed check then does not count, for `graceMs`. */
  readonly hasGrace?: () => boolean;
  /** Milliseconds in which such a replacement should be done; hosts that are lost again and again get no more. */
  readonly graceMs?: number;
  /** Called when readiness changes, and for a first or different reason for not being ready. */
  readonly onChange?: (state: ReadinessState) => void;
  /** Milliseconds between two checks, and the age up to which a successful request counts as one. */
  readonly everyMs?: number;
  /** Milliseconds after which a check counts as failed; the first one has no limit of its own. */
  readonly deadlineMs?: number;
  readonly clock?: Clock;
}

interface ReadinessState {
  readonly ready: boolean;
  readonly reason?: string;
}

/** A refusal for load leaves the state as it is for so long: a busy server answers, and then answers count. */
const BUSY_MS = 8000;

/**
 * Whether the service can answer: an inference of the default model has succeeded lately, in a request or in a check of its own, and the files it
 * would be loaded from again are there. Checks follow one another for as long as the process lives, so that a fault shows within
 * `everyMs` + `deadlineMs` and passes without a restart.
 */
export class ReadinessWatch {
  readonly #options: Required<ReadinessOptions>;
  #state: ReadinessState = { ready: false, reason: 'starting' };
  #draining = false;
  #answeredAt = Number.NEGATIVE_INFINITY;
  #succeededAt = Number.NEGATIVE_INFINITY;
  #checking: Promise<void> | undefined;
  #cancelTimer = () => {};

  constructor(options: ReadinessOptions) {
    this.#options = {
      checkFiles: async () => {},
      hasGrace: () => false,
      graceMs: 0,
      onChange: () => {},
      everyMs: 3000,
      deadlineMs: 5000,
      clock: monotonicClock,
      ...options,
    };
  }

  get ready(): boolean {
    return this.#state.ready;
  }

  draining(): boolean {
    return this.#draining;
  }

  /** Returns at once what is known. */
  async probe(): Promise<ReadinessState> {
    return this.#state;
  }

  /** Notes that the default model has answered a request. */
  answered(): void {
    this.#answeredAt = this.#options.clock.now();
    this.#succeededAt = this.#answeredAt;
  }

  /** Runs the first check, however long it takes, and starts the checks that follow. Never rejects. */
  async start(): Promise<ReadinessState> {
    await this.check(Number.POSITIVE_INFINITY);
    this.#schedule();
    return this.#state;
  }

  /** Checks now, or waits for the check that is running. Never rejects. */
  async check(deadlineMs = this.#options.deadlineMs): Promise<ReadinessState> {
    this.#checking ??= this.#run(deadlineMs).finally(() => {
      this.#checking = undefined;
    });
    await this.#checking;
    return this.#state;
  }

  /** Reports not ready from now on and ends the checks. */
  drain(): void {
    this.#draining = true;
    this.#cancelTimer();
    this.#become({ ready: false, reason: 'shutting down' });
  }

  #schedule(): void {
    if (this.#draining) return;
    this.#cancelTimer = this.#options.clock.after(this.#options.everyMs, () => {
      void this.check().then(() => this.#schedule());
    });
  }

  async #run(deadlineMs: number): Promise<void> {
    const { check, checkFiles, hasGrace, graceMs, everyMs, clock } = this.#options;
    const isProven = this.#state.ready && clock.now() - this.#answeredAt < everyMs;
    try {
      await this.#limited(deadlineMs, async (signal) => {
        await checkFiles();
        if (isProven) return;
        await check(signal);
        this.#succeededAt = clock.now();
      });
      this.#become({ ready: true });
    } catch (error) {
      const isBusy = error instanceof WinnowError && error.code === 'overloaded';
      if (isBusy && this.#state.ready && clock.now() - this.#succeededAt < BUSY_MS) return;
      // The last success may be as old as the time between two checks when the hosts are lost.
      if (this.#state.ready && hasGrace() && clock.now() - this.#succeededAt < everyMs + graceMs) return;
      this.#become({ ready: false, reason: (error as Error).message });
    }
  }

  /** Rejects when the work is not done in time; the work gets the signal to stop, and its end is not awaited. */
  async #limited(limitMs: number, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const given = new AbortController();
    const done = work(given.signal);
    if (limitMs === Number.POSITIVE_INFINITY) return done;
    done.catch(() => {});
    const { promise: late, reject } = Promise.withResolvers<never>();
    const cancel = this.#options.clock.after(limitMs, () => {
      given.abort();
      reject(new Error(`no inference was done within ${limitMs} ms`));
    });
    try {
      await Promise.race([done, late]);
    } finally {
      cancel();
    }
  }

  #become(state: ReadinessState): void {
    if (this.#draining && this.#state.reason === 'shutting down') return;
    const isNew = state.ready !== this.#state.ready || state.reason !== this.#state.reason;
    this.#state = state;
    if (isNew) this.#options.onChange(state);
  }
}
