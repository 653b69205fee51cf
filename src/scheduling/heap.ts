/**
 * A binary min-heap that can also remove an item from its middle. It remembers the place of each item, so `push`, `pop` and `remove` take
 * O(log n). An item may be in a heap only once, and its order must not change while it is there.
 */
export class Heap<Item> {
  readonly #before: (a: Item, b: Item) => boolean;
  readonly #items: Item[] = [];
  readonly #places = new Map<Item, number>();

  constructor(before: (a: Item, b: Item) => boolean) {
    this.#before = before;
  }

  get size(): number {
    return this.#items.length;
  }

  peek(): Item | undefined {
    return this.#items[0];
  }

  push(item: Item): void {
    this.#items.push(item);
    this.#up(this.#items.length - 1, item);
  }

  pop(): Item | undefined {
    const first = this.#items[0];
    if (first !== undefined) this.remove(first);
    return first;
  }

  /** Removes an item. Returns whether it was in the heap. */
  remove(item: Item): boolean {
    const place = this.#places.get(item);
    if (place === undefined) return false;
    this.#places.delete(item);
    const last = this.#items.pop()!;
    if (last === item) return true;
    this.#up(place, last);
    this.#down(this.#places.get(last)!, last);
    return true;
  }

  clear(): void {
    this.#items.length = 0;
    this.#places.clear();
  }

  #put(place: number, item: Item): void {
    this.#items[place] = item;
    this.#places.set(item, place);
  }

  #up(from: number, item: Item): void {
    let place = from;
    while (place > 0) {
      const above = (place - 1) >> 1;
      const parent = this.#items[above]!;
      if (!this.#before(item, parent)) break;
      this.#put(place, parent);
      place = above;
    }
    this.#put(place, item);
  }

  #down(from: number, item: Item): void {
    const items = this.#items;
    let place = from;
    for (;;) {
      let below = 2 * place + 1;
      if (below >= items.length) break;
      if (below + 1 < items.length && this.#before(items[below + 1]!, items[below]!)) below++;
      const child = items[below]!;
      if (!this.#before(child, item)) break;
      this.#put(place, child);
      place = below;
    }
    this.#put(place, item);
  }
}
