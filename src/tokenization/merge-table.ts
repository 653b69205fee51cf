/** Slots hold (left, right, rank, merged id). */
const STRIDE = 4;

/** Which two neighboring symbols of byte-pair encoding join, how urgently, and into what: one open-addressed table. */
export class MergeTable {
  readonly #slots: Int32Array;
  readonly #mask: number;

  constructor(merges: number) {
    const capacity = 1 << Math.max(4, Math.ceil(Math.log2(merges * 2 + 1)));
    this.#slots = new Int32Array(capacity * STRIDE).fill(-1);
    this.#mask = capacity - 1;
  }

  /** A pair that is set twice keeps its later rank, as in the library. */
  set(left: number, right: number, rank: number, merged: number): void {
    this.#slots.set([left, right, rank, merged], this.#slotOf(left, right));
  }

  /** Where the pair stands, for `rank` and `merged`; -1 if it never joins. */
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

  /** The slot of the pair, or the empty one where it would go. */
  #slotOf(left: number, right: number): number {
    const x = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
    for (let i = (x ^ (x >>> 15)) & this.#mask; ; i = (i + 1) & this.#mask) {
      const slot = i * STRIDE;
      const owner = this.#slots[slot]!;
      if (owner === -1 || (owner === left && this.#slots[slot + 1] === right)) return slot;
    }
  }
}
