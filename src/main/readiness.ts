export interface ReadinessOptions {
  /** A real inference through everything a request goes through; throws while that cannot be. */
  readonly check: () => Promise<void>;
  /** Told when readiness changes, and of a first or different reason why not. */
  readonly onChange?: (state: { readonly ready: boolean; readonly reason?: string }) => void;
  /** Least time between two checks, in milliseconds. */
  readonly retryMs?: number;
  readonly now?: () => number;
}

interface State {
  readonly ready: boolean;
  readonly reason?: string;
}

/**
 * Ready is: a real inference has succeeded once, and nobody asked the process to leave. A check that failed is repeated when somebody asks
 * again, so that a server whose first model is published later becomes ready by itself.
 */
export class ReadinessLatch {
  readonly #options: Required<ReadinessOptions>;
  #state: State = { ready: false, reason: 'starting' };
  #draining = false;
  #checkedAt = Number.NEGATIVE_INFINITY;
  #checking: Promise<void> | undefined;

  constructor(options: ReadinessOptions) {
    this.#options = { onChange: () => {}, retryMs: 1000, now: () => performance.now(), ...options };
  }

  get ready(): boolean {
    return this.#state.ready;
  }

  draining(): boolean {
    return this.#draining;
  }

  /** Answers at once with what is known; starts a check where one is due. */
  async probe(): Promise<State> {
    if (!this.#state.ready && !this.#draining && this.#options.now() - this.#checkedAt >= this.#options.retryMs)
      void this.check();
    return this.#state;
  }

  /** Checks now, or waits for the check that is under way. Never rejects. */
  async check(): Promise<State> {
    this.#checking ??= this.#run().finally(() => {
      this.#checking = undefined;
    });
    await this.#checking;
    return this.#state;
  }

  /** Not ready from now on. */
  drain(): void {
    this.#draining = true;
    this.#become({ ready: false, reason: 'shutting down' });
  }

  async #run(): Promise<void> {
    try {
      await this.#options.check();
      this.#become({ ready: true });
    } catch (error) {
      this.#become({ ready: false, reason: (error as Error).message });
    }
    this.#checkedAt = this.#options.now();
  }

  #become(state: State): void {
    if (this.#draining && this.#state.reason === 'shutting down') return;
    const isNew = state.ready !== this.#state.ready || state.reason !== this.#state.reason;
    this.#state = state;
    if (isNew) this.#options.onChange(state);
  }
}
