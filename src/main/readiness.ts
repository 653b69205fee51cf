import { monotonicClock } from '../util/clock.ts';

interface ReadinessState {
  readonly ready: boolean;
  readonly reason?: string;
}

interface ReadinessOptions {
  /** Runs a real inference through everything that a request uses; throws while that fails. */
  readonly check: () => Promise<void>;
  /** Called when readiness changes, and for a first or different reason for not being ready. */
  readonly onChange?: (state: ReadinessState) => void;
  /** Least time between two checks, in milliseconds. */
  readonly retryMs?: number;
  readonly now?: () => number;
}

/**
 * Ready means that a real inference has succeeded once and the process is not shutting down. A failed check is repeated by a later probe,
 * so that a server whose first model is published later becomes ready by itself.
 */
export class ReadinessLatch {
  readonly #options: Required<ReadinessOptions>;
  #state: ReadinessState = { ready: false, reason: 'starting' };
  #draining = false;
  #checkedAt = Number.NEGATIVE_INFINITY;
  #checking: Promise<void> | undefined;

  constructor(options: ReadinessOptions) {
    this.#options = { onChange: () => {}, retryMs: 1000, now: monotonicClock.now, ...options };
  }

  get ready(): boolean {
    return this.#state.ready;
  }

  draining(): boolean {
    return this.#draining;
  }

  /** Returns the known state at once; starts a check where one is due. */
  async probe(): Promise<ReadinessState> {
    if (!this.#state.ready && !this.#draining && this.#options.now() - this.#checkedAt >= this.#options.retryMs)
      void this.check();
    return this.#state;
  }

  /** Checks now, or waits for the check in progress. Never rejects. */
  async check(): Promise<ReadinessState> {
    this.#checking ??= this.#run().finally(() => {
      this.#checking = undefined;
    });
    await this.#checking;
    return this.#state;
  }

  /** Makes the server not ready from now on. */
  drain(): void {
    this.#draining = true;
    this.#setState({ ready: false, reason: 'shutting down' });
  }

  async #run(): Promise<void> {
    try {
      await this.#options.check();
      this.#setState({ ready: true });
    } catch (error) {
      this.#setState({ ready: false, reason: (error as Error).message });
    }
    this.#checkedAt = this.#options.now();
  }

  #setState(state: ReadinessState): void {
    if (this.#draining && this.#state.reason === 'shutting down') return;
    const isNew = state.ready !== this.#state.ready || state.reason !== this.#state.reason;
    this.#state = state;
    if (isNew) this.#options.onChange(state);
  }
}
