import { WinnowError } from '../errors.ts';
import type { Clock } from '../util/clock.ts';

/** How long a model is out after its second loss in a row, in milliseconds; doubles each time up to the second number. */
const PAUSE_MS = [1000, 60_000] as const;

interface State {
  readonly until: number;
  readonly pauseMs: number;
}

/**
 * Refuses models whose batches end inference hosts. One batch that ends two hosts may be the machine's fault and has no effect on other
 * batches. From the second such batch in a row on, the model is out for a pause that grows each time. A batch that succeeds ends the row.
 */
export class Breaker {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #states = new Map<string, State>();

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  /** @throws WinnowError `model_not_ready` while the model is out. */
  check(key: string): void {
    if (this.isOut(key)) throw this.refusal(key);
  }

  isOut(key: string): boolean {
    const state = this.#states.get(key);
    return state !== undefined && this.#clock.now() < state.until;
  }

  /** Returns the error for batches of a model that is out. */
  refusal(model: string): WinnowError {
    const leftMs = (this.#states.get(model)?.until ?? 0) - this.#clock.now();
    const seconds = Math.max(1, Math.ceil(leftMs / 1000));
    const reason = `batches of it ended inference hosts again and again; it is tried again in ${seconds} s`;
    return new WinnowError('model_not_ready', { model, reason, seconds });
  }

  /** Records that a batch of a model has ended as many hosts as it may. */
  lost(key: string): void {
    const [first, longest] = PAUSE_MS;
    const before = this.#states.get(key);
    const pauseMs = before ? Math.max(first, Math.min(longest, 2 * before.pauseMs)) : 0;
    this.#states.set(key, { until: this.#clock.now() + pauseMs, pauseMs });
  }

  succeeded(key: string): void {
    this.#states.delete(key);
  }
}
