import type { Batch } from './batch-former.ts';

/** A batch the engine has. */
export interface Flight<Owner> {
  readonly batch: Batch<Owner>;
  /** Predicted milliseconds. */
  readonly expectedMs: number;
  /** When a runner took it up; undefined while it waits behind another. */
  startedAt: number | undefined;
}

/** The batches handed to the engine: which run, and which wait behind them. Batches are taken up in the order they were handed over. */
export class Flights<Owner> {
  readonly #concurrency: number;
  readonly #capacity: number;
  readonly #flights = new Set<Flight<Owner>>();

  constructor(concurrency: number, depth: number) {
    this.#concurrency = concurrency;
    this.#capacity = concurrency * depth;
  }

  get size(): number {
    return this.#flights.size;
  }

  /** The engine takes one more, if only to have it ready. */
  get hasRoom(): boolean {
    return this.#flights.size < this.#capacity;
  }

  /** A runner has nothing to do. */
  get hasIdle(): boolean {
    return this.#flights.size < this.#concurrency;
  }

  launch(batch: Batch<Owner>, expectedMs: number, now: number): Flight<Owner> {
    const flight: Flight<Owner> = { batch, expectedMs, startedAt: this.hasIdle ? now : undefined };
    this.#flights.add(flight);
    return flight;
  }

  /** A flight came back: the next one is taken up. Gives the milliseconds it ran. */
  land(flight: Flight<Owner>, now: number): number {
    this.#flights.delete(flight);
    let running = 0;
    for (const other of this.#flights) {
      if (running === this.#concurrency) break;
      other.startedAt ??= now;
      running++;
    }
    return now - (flight.startedAt ?? now);
  }

  /** Milliseconds of one runner still to come, as predicted; a batch that is overdue counts as nearly done. */
  work(now: number): number {
    let work = 0;
    for (const { startedAt, expectedMs } of this.#flights)
      work += startedAt === undefined ? expectedMs : Math.max(0, expectedMs - (now - startedAt));
    return work;
  }
}
