import type { Clock } from '../util/clock.ts';

/** Wait before a model that a host could not load is tried there again, in milliseconds; doubles with each failure up to the second number. */
const RETRY_MS = [1000, 8000] as const;

/** Tries again later what a host could not load: its files may come back. */
export class LoadRetry {
  readonly #clock: Clock;
  readonly #loadMissing: () => Promise<void>;
  #failures = 0;
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, loadMissing: () => Promise<void>) {
    this.#clock = clock;
    this.#loadMissing = loadMissing;
  }

  /** Plans a try, unless one is planned. */
  plan(): void {
    if (this.#cancel) return;
    const [first, longest] = RETRY_MS;
    this.#cancel = this.#clock.after(Math.min(longest, first * 2 ** this.#failures++), () => {
      this.#cancel = undefined;
      void this.#loadMissing().then(() => {
        if (!this.#cancel) this.#failures = 0;
      });
    });
  }

  stop(): void {
    this.#cancel?.();
  }
}
