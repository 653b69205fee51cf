import type { Request } from 'express';

/** Refused bodies that are read at full speed at once. Reading costs the front thread time; a body that waits costs none. */
const AT_ONCE = 4;
/** How long a client may continue to send a body that has been refused, in milliseconds. */
const LIMIT_MS = 5000;

/** Reads and drops the rest of refused bodies, a few at a time, so that many of them cannot keep the front thread busy. */
export class Discards {
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  /** Discards the rest of a body. @returns whether its end came within the time limit. */
  async run(req: Request): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    let isReading = false;
    const start = (): void => {
      isReading = true;
      this.#running++;
      req.resume();
    };
    const timer = setTimeout(() => resolve(false), LIMIT_MS);
    req.once('close', () => resolve(true));
    req.pause();
    if (this.#running < AT_ONCE) start();
    else this.#waiting.push(start);
    const isWhole = await promise;
    clearTimeout(timer);
    if (isReading) {
      this.#running--;
      this.#waiting.shift()?.();
    } else this.#waiting.splice(this.#waiting.indexOf(start), 1);
    return isWhole;
  }
}
