import type { Clock } from '../util/clock.ts';
import { Heap } from './heap.ts';

/** Calls back for each item once its deadline has passed, with one timer for all of them. */
export class Deadlines<Item extends { readonly job: { readonly deadline: number } }> {
  readonly #clock: Clock;
  readonly #onPassed: (item: Item) => void;
  readonly #items = new Heap<Item>((a, b) => a.job.deadline < b.job.deadline);
  #armedFor = Number.POSITIVE_INFINITY;
  #disarm: () => void = () => {};

  constructor(clock: Clock, onPassed: (item: Item) => void) {
    this.#clock = clock;
    this.#onPassed = onPassed;
  }

  add(item: Item): void {
    if (item.job.deadline === Number.POSITIVE_INFINITY) return;
    this.#items.push(item);
    if (item.job.deadline < this.#armedFor) this.#arm(item.job.deadline);
  }

  /** A timer set for an earlier deadline stays set and finds nothing to do, unless nothing is left at all. */
  remove(item: Item): void {
    this.#items.remove(item);
    if (this.#items.size === 0) this.#rest();
  }

  #arm(deadline: number): void {
    this.#disarm();
    this.#armedFor = deadline;
    this.#disarm = this.#clock.after(Math.max(0, deadline - this.#clock.now()), () => this.#ring());
  }

  #rest(): void {
    this.#disarm();
    this.#armedFor = Number.POSITIVE_INFINITY;
  }

  #ring(): void {
    this.#rest();
    const now = this.#clock.now();
    for (let first = this.#items.peek(); first && first.job.deadline <= now; first = this.#items.peek()) {
      this.#items.pop();
      this.#onPassed(first);
    }
    const next = this.#items.peek();
    if (next) this.#arm(next.job.deadline);
  }
}
