/** An entry of a doubly linked list; the list's owner alone writes the links. */
export interface Linked {
  readonly length: number;
  next: this | undefined;
  previous: this | undefined;
}

/**
 * Waiting rows by exact length: one first-in-first-out list a length, so that adding and dropping a row take constant time and rows of
 * nearly equal length are found without sorting anything.
 */
export class LengthBuckets<Row extends Linked> {
  readonly #heads: (Row | undefined)[] = [];
  readonly #tails: (Row | undefined)[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The row that waits longest among those of this length; follow `next` for the others. */
  first(length: number): Row | undefined {
    return this.#heads[length];
  }

  add(row: Row): void {
    for (let length = this.#heads.length; length <= row.length; length++) {
      this.#heads.push(undefined);
      this.#tails.push(undefined);
    }
    const tail = this.#tails[row.length];
    row.previous = tail;
    row.next = undefined;
    if (tail) tail.next = row;
    else this.#heads[row.length] = row;
    this.#tails[row.length] = row;
    this.#size++;
  }

  drop(row: Row): void {
    const { previous, next } = row;
    if (previous) previous.next = next;
    else this.#heads[row.length] = next;
    if (next) next.previous = previous;
    else this.#tails[row.length] = previous;
    row.next = undefined;
    row.previous = undefined;
    this.#size--;
  }
}
