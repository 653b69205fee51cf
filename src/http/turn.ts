import { setImmediate as nextTurn } from 'node:timers/promises';

/** How long work may block the event loop, in milliseconds. */
const TURN_MS = 4;

/** Limits how long work of many steps blocks the event loop. */
export class Turn {
  #start = performance.now();

  /** Yields to other events if this turn has lasted too long. */
  async rest(): Promise<void> {
    if (performance.now() - this.#start < TURN_MS) return;
    await nextTurn();
    this.#start = performance.now();
  }
}
