import type { Batch } from './batch-former.ts';

/** A batch that the executor has. */
export interface InFlightBatch<Owner> {
  readonly batch: Batch<Owner>;
  /** Predicted milliseconds. */
  readonly expectedMs: number;
  readonly sentAt: number;
  /** When a runner is assumed to have started it; undefined while it waits behind another batch. */
  runningSince: number | undefined;
}

/**
 * The batches handed to the executor: those that run and those that wait behind them. Each runner has its own queue, so a batch may
 * finish before one that was sent earlier and waits behind a longer one. Which runner has which batch is known only from the answer.
 * So the time of a batch is measured from the previous answer of its runner. Until the answer, the oldest batches are assumed to
 * run, which makes their sum correct.
 */
export class InFlightBatches<Owner> {
  readonly #concurrency: number;
  readonly #capacity: number;
  readonly #batches = new Set<InFlightBatch<Owner>>();
  /** When each runner last answered. */
  readonly #freeSince = new Map<number, number>();

  constructor(concurrency: number, depth: number) {
    this.#concurrency = concurrency;
    this.#capacity = concurrency * depth;
  }

  get size(): number {
    return this.#batches.size;
  }

  /** Whether the executor takes one more batch, to run it now or next. */
  get hasRoom(): boolean {
    return this.#batches.size < this.#capacity;
  }

  /** Whether a runner has no batch. */
  get hasIdleRunner(): boolean {
    return this.#batches.size < this.#concurrency;
  }

  add(batch: Batch<Owner>, expectedMs: number, now: number): InFlightBatch<Owner> {
    const runningSince = this.hasIdleRunner ? now : undefined;
    const sent: InFlightBatch<Owner> = { batch, expectedMs, sentAt: now, runningSince };
    this.#batches.add(sent);
    return sent;
  }

  /** Removes a batch that a runner answered. Returns the milliseconds that the runner spent on it. */
  complete(sent: InFlightBatch<Owner>, runner: number, now: number): number {
    const since = Math.max(sent.sentAt, this.#freeSince.get(runner) ?? sent.sentAt);
    this.#freeSince.set(runner, now);
    this.fail(sent, now);
    return now - since;
  }

  /** Removes a batch that came back without scores. */
  fail(sent: InFlightBatch<Owner>, now: number): void {
    this.#batches.delete(sent);
    let running = 0;
    for (const other of this.#batches) {
      if (running === this.#concurrency) break;
      other.runningSince ??= now;
      running++;
    }
  }

  /** Returns the predicted milliseconds of one runner that remain. An overdue batch counts as finished. */
  remainingMs(now: number): number {
    let ms = 0;
    for (const { runningSince, expectedMs } of this.#batches)
      ms += runningSince === undefined ? expectedMs : Math.max(0, expectedMs - (now - runningSince));
    return ms;
  }
}
