import type { IdBuffer } from './id-buffer.ts';
import type { MergeTable } from './merge-table.ts';
import { MinHeap } from './min-heap.ts';

/** A heap key is rank · 2^26 + position, which is exact in a double for both below 2^26. */
const POSITIONS = 2 ** 26;

/**
 * Merges the symbols of a word pair by pair (byte-pair encoding, Sennrich et al. 2016): the pair of lowest rank first, and of equal ones the
 * leftmost. A heap keeps long words at n log n.
 */
export class BpeMerger {
  readonly #merges: MergeTable;
  readonly #heap = new MinHeap();
  /** The symbols of the word as a linked list over positions; -1 in `#symbol` marks one merged into its left neighbor. */
  #symbol = new Int32Array(256);
  #previous = new Int32Array(256);
  #next = new Int32Array(256);
  #length = 0;

  constructor(merges: MergeTable) {
    this.#merges = merges;
  }

  /** Appends a symbol to the word. */
  add(id: number): void {
    if (this.#length === this.#symbol.length) this.#grow();
    this.#symbol[this.#length++] = id;
  }

  /** Merges the symbols added since the last call, and appends their ids. */
  finish(out: IdBuffer): void {
    const length = this.#length;
    this.#length = 0;
    for (let i = 0; i < length; i++) {
      this.#previous[i] = i - 1;
      this.#next[i] = i + 1 < length ? i + 1 : -1;
    }
    if (length > 1) this.#merge(length);
    for (let at = 0; at >= 0 && at < length; at = this.#next[at]!) out.push(this.#symbol[at]!);
  }

  #merge(length: number): void {
    for (let at = 0; at < length - 1; at++) this.#offer(at);
    for (let key = this.#heap.pop(); key >= 0; key = this.#heap.pop()) {
      const at = key % POSITIONS;
      const slot = this.#pairAt(at);
      // The pair has changed since it was pushed; its present pair has its own entry.
      if (slot < 0 || this.#merges.rank(slot) !== Math.floor(key / POSITIONS)) continue;
      this.#join(at, this.#merges.merged(slot));
    }
  }

  #pairAt(at: number): number {
    const right = this.#next[at]!;
    return right < 0 || this.#symbol[at] === -1 ? -1 : this.#merges.find(this.#symbol[at]!, this.#symbol[right]!);
  }

  #offer(at: number): void {
    const slot = this.#pairAt(at);
    if (slot >= 0) this.#heap.push(this.#merges.rank(slot) * POSITIONS + at);
  }

  #join(at: number, merged: number): void {
    const gone = this.#next[at]!;
    const after = this.#next[gone]!;
    this.#symbol[at] = merged;
    this.#symbol[gone] = -1;
    this.#next[at] = after;
    if (after >= 0) this.#previous[after] = at;
    this.#offer(at);
    if (this.#previous[at]! >= 0) this.#offer(this.#previous[at]!);
  }

  #grow(): void {
    const size = this.#symbol.length * 2;
    const symbol = new Int32Array(size);
    symbol.set(this.#symbol);
    this.#symbol = symbol;
    this.#previous = new Int32Array(size);
    this.#next = new Int32Array(size);
  }
}
