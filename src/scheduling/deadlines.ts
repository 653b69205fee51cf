import type { Clock } from '../util/clock.ts';
import { Heap } from './heap.ts';

/** Calls back for each item once its deadline has passed. Uses one timer for all items. */
export class Deadlines<Item extends { readonly job: { readonly deadline: number } }> {
  readonly #clock: Clock;
  readonly #onPassed: (item: Item) => void;
  readonly #items = new Heap<Item>((a, b) => a.job.deadline < b.job.deadline);
  #timerAt = Number.POSITIVE_INFINITY;
  #cancelTimer: () => void = () => {};

  constructor(clock: Clock, onPassed: (item: Item) => void) {
    this.#clock = clock;
    this.#onPassed = onPassed;
  }

  add(item: Item): void {
    if (item.job.deadline === Number.POSITIVE_INFINITY) return;
    this.#items.push(item);
    if (item.job.deadline < this.#timerAt) this.#setTimer(item.job.deadline);
  }

  /** Removes an item. A timer set for its deadline stays set while other items remain, and does nothing when it fires. */
  remove(item: Item): void {
    this.#items.remove(item);
    if (this.#items.size === 0) this.#clearTimer();
  }

  #setTimer(deadline: number): void {
    this.#cancelTimer();
    this.#timerAt = deadline;
    this.#cancelTimer = this.#clock.after(Math.max(0, deadline - this.#clock.now()), () => this.#onTimer());
  }

  #clearTimer(): void {
    this.#cancelTimer();
    this.#timerAt = Number.POSITIVE_INFINITY;
  }

  #onTimer(): void {
    this.#clearTimer();
    const now = this.#clock.now();
    for (let first = this.#items.peek(); first && first.job.deadline <= now; first = this.#items.peek()) {
      this.#items.pop();
      this.#onPassed(first);
    }
    const next = this.#items.peek();
    if (next) this.#setTimer(next.job.deadline);
  }
}
