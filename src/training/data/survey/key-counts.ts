/** Keys that are counted at a time; about 50 bytes each. */
const LIMIT = 500_000;
/** Bits of the marks below a key's count. */
const MARKS = 4;

/**
 * Counts how often keys occur, in bounded memory: where there are more than `limit` keys, only those whose hash is a multiple of 2, then of 4
 * and so on stay. Those that stay are counted from their first occurrence, so that sums times the factor estimate the sums of all
 * (Wegman's adaptive sampling).
 */
export class KeyCounts {
  readonly #limit: number;
  readonly #counts = new Map<number, number>();
  #factor = 1;

  constructor(limit = LIMIT) {
    this.#limit = limit;
  }

  /** What the sums of the counted keys are multiplied by to estimate those of all; 1 where every key is counted. */
  get factor(): number {
    return this.#factor;
  }

  /**
   * Counts a key. @param hash a whole number, evenly distributed. @param mark a bit (1 or 2) to remember for the key.
   * @returns what is known of the key now, or undefined where it is not among the counted ones.
   */
  add(hash: number, mark: 0 | 1 | 2 = 0): { readonly count: number; readonly marks: number } | undefined {
    if (hash % this.#factor !== 0) return undefined;
    const before = this.#counts.get(hash) ?? 0;
    const count = Math.floor(before / MARKS) + 1;
    const marks = (before % MARKS) | mark;
    this.#counts.set(hash, count * MARKS + marks);
    if (this.#counts.size > this.#limit) this.#thin();
    return { count, marks };
  }

  #thin(): void {
    this.#factor *= 2;
    for (const hash of this.#counts.keys()) if (hash % this.#factor !== 0) this.#counts.delete(hash);
  }

  /** Returns the number of different keys, of occurrences after the first, and of keys with both marks; estimates where `factor` is above 1. */
  totals(): { readonly keys: number; readonly repeats: number; readonly both: number } {
    let repeats = 0;
    let both = 0;
    for (const value of this.#counts.values()) {
      repeats += Math.floor(value / MARKS) - 1;
      if (value % MARKS === 3) both++;
    }
    return { keys: this.#counts.size * this.#factor, repeats: repeats * this.#factor, both: both * this.#factor };
  }
}
