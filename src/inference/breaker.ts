import { WinnowError } from '../errors.ts';
import type { Clock } from '../util/clock.ts';

/** How long a model is out after its first loss, in milliseconds; doubles each time up to the second number. */
const PAUSE_MS = [1000, 60_000] as const;

interface State {
  readonly until: number;
  readonly pauseMs: number;
}

/**
 * Takes models out that cost inference hosts. A model is out for a pause that grows each time; a batch that comes back in between makes the next
 * pause short again.
 */
export class Breaker {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #states = new Map<string, State>();

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  /** @throws WinnowError `model_not_ready` while the model is out. */
  check(key: string): void {
    const state = this.#states.get(key);
    if (state && this.#clock.now() < state.until) throw this.refusal(key);
  }

  /** Returns the error for batches of a model that is out. */
  refusal(model: string): WinnowError {
    const leftMs = (this.#states.get(model)?.until ?? 0) - this.#clock.now();
    const seconds = Math.max(1, Math.ceil(leftMs / 1000));
    const reason = `a batch of it ended two inference hosts; it is tried again in ${seconds} s`;
    return new WinnowError('model_not_ready', { model, reason, seconds });
  }

  /** Takes a model out. */
  open(key: string): void {
    const [first, longest] = PAUSE_MS;
    const before = this.#states.get(key);
    const pauseMs = before ? Math.min(longest, 2 * before.pauseMs) : first;
    this.#states.set(key, { until: this.#clock.now() + pauseMs, pauseMs });
  }

  succeeded(key: string): void {
    this.#states.delete(key);
  }
}
