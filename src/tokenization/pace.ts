import { setImmediate } from 'node:timers/promises';

/** Splits long work on the event loop: yields after every `limit` units, and ends work whose signal has aborted. */
export class Pace {
  readonly #limit: number;
  readonly #signal: AbortSignal | undefined;
  #spent = 0;

  constructor(limit: number, signal: AbortSignal | undefined) {
    this.#limit = limit;
    this.#signal = signal;
  }

  /** Counts units of work. Returns a promise to await if it is time to yield, else undefined. Rejects with the signal's reason. */
  spend(units: number): Promise<void> | undefined {
    this.#spent += units;
    if (this.#spent <= this.#limit) return undefined;
    this.#spent = 0;
    return this.#pause();
  }

  async #pause(): Promise<void> {
    await setImmediate();
    this.#signal?.throwIfAborted();
  }
}
