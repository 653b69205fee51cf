import { KEY_WORDS } from './passage-types.ts';

/** Slots for each entry: half of them stay free, so that searches are short. */
const SLOTS_PER_ENTRY = 2;

/** Reads the words of an entry's key. */
type KeyWord = (entry: number, word: number) => number;

/**
 * Finds entries by key: open addressing with linear probing in one typed array. Keys are hashes, so their first word is the place to begin.
 * Removal moves later entries back, so that no marks of removed ones pile up.
 */
export class KeyIndex {
  readonly #slots: Int32Array;
  readonly #mask: number;
  readonly #word: KeyWord;

  /** @param most Entries that it has to hold. */
  constructor(most: number, word: KeyWord) {
    const size = 2 ** Math.ceil(Math.log2(Math.max(2, SLOTS_PER_ENTRY * most)));
    // 0 is an empty slot, so that untouched memory needs no writing.
    this.#slots = new Int32Array(size);
    this.#mask = size - 1;
    this.#word = word;
  }

  get bytes(): number {
    return this.#slots.byteLength;
  }

  /** Returns the entry of the key at `keys[at …]`; −1 without one. */
  find(keys: Uint32Array, at: number): number {
    for (let slot = keys[at]! & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const entry = this.#slots[slot]! - 1;
      if (entry < 0 || this.#equals(entry, keys, at)) return entry;
    }
  }

  /** Adds an entry whose key is not there. */
  add(entry: number): void {
    let slot = this.#home(entry);
    while (this.#slots[slot] !== 0) slot = (slot + 1) & this.#mask;
    this.#slots[slot] = entry + 1;
  }

  remove(entry: number): void {
    let hole = this.#home(entry);
    while (this.#slots[hole] !== entry + 1) hole = (hole + 1) & this.#mask;
    for (let slot = (hole + 1) & this.#mask; this.#slots[slot] !== 0; slot = (slot + 1) & this.#mask) {
      const home = this.#home(this.#slots[slot]! - 1);
      // An entry may move back to the hole unless its home lies behind it.
      if (((slot - home) & this.#mask) < ((slot - hole) & this.#mask)) continue;
      this.#slots[hole] = this.#slots[slot]!;
      hole = slot;
    }
    this.#slots[hole] = 0;
  }

  #home(entry: number): number {
    return this.#word(entry, 0) & this.#mask;
  }

  #equals(entry: number, keys: Uint32Array, at: number): boolean {
    for (let word = 0; word < KEY_WORDS; word++) if (this.#word(entry, word) !== keys[at + word]) return false;
    return true;
  }
}
