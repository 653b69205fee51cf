/**
 * Keeps the best `k` of many passages in a heap with the worst kept one on top. Of equal scores the earlier passage ranks higher, as in
 * Lucene.
 */
export class TopK {
  readonly #passages: Uint32Array;
  readonly #scores: Float64Array;
  #size = 0;

  constructor(k: number) {
    this.#passages = new Uint32Array(k);
    this.#scores = new Float64Array(k);
  }

  add(passage: number, score: number): void {
    if (this.#size < this.#scores.length) this.#rise(this.#size++, passage, score);
    else if (this.#size > 0 && this.#worse(0, passage, score)) this.#sink(passage, score, this.#size);
  }

  /** Returns the kept passages, best first, and empties the heap. */
  drain(): { passages: Uint32Array; scores: Float64Array } {
    const passages = new Uint32Array(this.#size);
    const scores = new Float64Array(this.#size);
    while (this.#size > 0) {
      const last = --this.#size;
      passages[last] = this.#passages[0]!;
      scores[last] = this.#scores[0]!;
      this.#sink(this.#passages[last]!, this.#scores[last]!, last);
    }
    return { passages, scores };
  }

  /** Returns whether the entry at `at` ranks below the given one. */
  #worse(at: number, passage: number, score: number): boolean {
    const own = this.#scores[at]!;
    return own < score || (own === score && this.#passages[at]! > passage);
  }

  #put(at: number, passage: number, score: number): void {
    this.#passages[at] = passage;
    this.#scores[at] = score;
  }

  #rise(from: number, passage: number, score: number): void {
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.#worse(parent, passage, score)) break;
      this.#put(at, this.#passages[parent]!, this.#scores[parent]!);
      at = parent;
    }
    this.#put(at, passage, score);
  }

  #sink(passage: number, score: number, size: number): void {
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && this.#worse(child + 1, this.#passages[child]!, this.#scores[child]!)) child++;
      if (!this.#worse(child, passage, score)) break;
      this.#put(at, this.#passages[child]!, this.#scores[child]!);
      at = child;
    }
    this.#put(at, passage, score);
  }
}
