/** Numbers of a slot: left, right, rank, merged id. */
const STRIDE = 4;

/** The merges of byte-pair encoding: rank and result by pair of symbols, in one open-addressed table. */
export class MergeTable {
  readonly #slots: Int32Array;
  readonly #mask: number;

  constructor(merges: number) {
    const capacity = 1 << Math.max(4, Math.ceil(Math.log2(merges * 2 + 1)));
    this.#slots = new Int32Array(capacity * STRIDE).fill(-1);
    this.#mask = capacity - 1;
  }

  /** Adds a merge. A pair that is added twice keeps its later rank, as in the library. */
  set(left: number, right: number, rank: number, merged: number): void {
    this.#slots.set([left, right, rank, merged], this.#slotOf(left, right));
  }

  /** Returns the slot of a pair, for `rank` and `merged`; -1 if the pair is never merged. */
  find(left: number, right: number): number {
    const slot = this.#slotOf(left, right);
    return this.#slots[slot] === -1 ? -1 : slot;
  }

  rank(slot: number): number {
    return this.#slots[slot + 2]!;
  }

  merged(slot: number): number {
    return this.#slots[slot + 3]!;
  }

  /** Returns the slot of a pair, or the empty slot where it would be added. */
  #slotOf(left: number, right: number): number {
    const x = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
    for (let i = (x ^ (x >>> 15)) & this.#mask; ; i = (i + 1) & this.#mask) {
      const slot = i * STRIDE;
      const owner = this.#slots[slot]!;
      if (owner === -1 || (owner === left && this.#slots[slot + 1] === right)) return slot;
    }
  }
}
