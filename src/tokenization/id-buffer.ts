/** A growing list of token ids in a typed array. */
export class IdBuffer {
  #ids = new Int32Array(1 << 10);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(id: number): void {
    if (this.#length === this.#ids.length) this.#grow(this.#length + 1);
    this.#ids[this.#length++] = id;
  }

  append(ids: Int32Array): void {
    if (this.#length + ids.length > this.#ids.length) this.#grow(this.#length + ids.length);
    this.#ids.set(ids, this.#length);
    this.#length += ids.length;
  }

  /** Drops the ids from index `length` on. */
  truncate(length: number): void {
    this.#length = length;
  }

  /** Returns a copy of the ids from index `start` on. */
  since(start: number): Int32Array {
    return this.#ids.slice(start, this.#length);
  }

  /** Returns a copy of the ids and empties the buffer. */
  take(): Int32Array<ArrayBuffer> {
    const ids = this.#ids.slice(0, this.#length);
    this.#length = 0;
    return ids;
  }

  #grow(atLeast: number): void {
    const next = new Int32Array(Math.max(atLeast, this.#ids.length * 2));
    next.set(this.#ids);
    this.#ids = next;
  }
}
