import { setImmediate } from 'node:timers/promises';

/** Splits long work on the event loop: after every `limit` units others get their turn, and a cancelled job ends. */
export class Pace {
  readonly #limit: number;
  readonly #signal: AbortSignal | undefined;
  #spent = 0;

  constructor(limit: number, signal: AbortSignal | undefined) {
    this.#limit = limit;
    this.#signal = signal;
  }

  /** Something to wait for where it is time, else undefined. Rejects with the signal's reason. */
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
