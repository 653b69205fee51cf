import type { Batch } from './batch-former.ts';

/** A batch the engine has. */
export interface Flight<Owner> {
  readonly batch: Batch<Owner>;
  /** Predicted milliseconds. */
  readonly expectedMs: number;
  readonly launchedAt: number;
  /** When a runner is taken to have begun with it; undefined while it waits behind another. */
  runsSince: number | undefined;
}

/**
 * The batches handed to the engine: which run, and which wait behind them. Each runner has a queue of its own, so that a batch may overtake
 * one that was handed over before it and lies behind a longer one. Which runner has which batch is known only when it comes back. So what a
 * batch took is reckoned from its runner's previous one; until then the oldest are taken to be those that run, which holds for their sum.
 */
export class Flights<Owner> {
  readonly #concurrency: number;
  readonly #capacity: number;
  readonly #flights = new Set<Flight<Owner>>();
  /** When each runner last gave a batch back. */
  readonly #freeSince = new Map<number, number>();

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
    const runsSince = this.hasIdle ? now : undefined;
    const flight: Flight<Owner> = { batch, expectedMs, launchedAt: now, runsSince };
    this.#flights.add(flight);
    return flight;
  }

  /** A flight came back from a runner, which then takes up its next. Gives the milliseconds that the runner was busy with it. */
  land(flight: Flight<Owner>, runner: number, now: number): number {
    const since = Math.max(flight.launchedAt, this.#freeSince.get(runner) ?? flight.launchedAt);
    this.#freeSince.set(runner, now);
    this.fail(flight, now);
    return now - since;
  }

  /** A flight came back without an answer. */
  fail(flight: Flight<Owner>, now: number): void {
    this.#flights.delete(flight);
    let running = 0;
    for (const other of this.#flights) {
      if (running === this.#concurrency) break;
      other.runsSince ??= now;
      running++;
    }
  }

  /** Milliseconds of one runner still to come, as predicted; a batch that is overdue counts as nearly done. */
  work(now: number): number {
    let work = 0;
    for (const { runsSince, expectedMs } of this.#flights)
      work += runsSince === undefined ? expectedMs : Math.max(0, expectedMs - (now - runsSince));
    return work;
  }
}
