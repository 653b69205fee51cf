import { KEY_WORDS } from './passage-types.ts';

/** Words of an entry: one line of the processor's cache. */
const WORDS = 16;
const ENTRY_BYTES = 4 * WORDS;
/** Where the time of the last use is, in words: a double. */
const USED_AT = 14;

/** Numbers of an entry, by their word. The first four are its key. */
export const FIELD = {
  page: 4,
  slot: 5,
  /** Bytes of the value. */
  length: 6,
  tokens: 7,
  /** Number of its version; −1 once it was removed while being read. */
  model: 8,
  /** Readers. */
  pins: 9,
  /** Neighbors in the order of use of its size class; −1 at the ends. Of free entries, `next` is the next free one. */
  before: 10,
  next: 11,
} as const;
type Field = (typeof FIELD)[keyof typeof FIELD];

interface Block {
  readonly words: Int32Array;
  readonly times: Float64Array;
}

/** Entries as numbers in typed arrays, in blocks that are allocated when they are needed. */
export class EntryTable {
  readonly #blocks: Block[] = [];
  readonly #shift: number;
  readonly #mask: number;
  #free = -1;
  #used = 0;

  /** @param blockEntries Entries of a block; a power of two. */
  constructor(blockEntries: number) {
    this.#shift = Math.log2(blockEntries);
    this.#mask = blockEntries - 1;
  }

  /** Bytes of all blocks. */
  get bytes(): number {
    return this.#blocks.length * this.blockBytes;
  }

  get blockBytes(): number {
    return ENTRY_BYTES * (this.#mask + 1);
  }

  /** Entries in use. */
  get used(): number {
    return this.#used;
  }

  /** One more than the highest entry that was ever in use. */
  get end(): number {
    return this.#blocks.length << this.#shift;
  }

  get isFull(): boolean {
    return this.#free < 0;
  }

  /** Adds a block of free entries. */
  grow(): void {
    const buffer = new ArrayBuffer(this.blockBytes);
    this.#blocks.push({ words: new Int32Array(buffer), times: new Float64Array(buffer) });
    for (let entry = this.end - 1; entry > this.end - 2 - this.#mask; entry--) this.#putBack(entry);
  }

  /** Drops all blocks. No entry may be in use. */
  reset(): void {
    this.#blocks.length = 0;
    this.#free = -1;
  }

  /** Takes a free entry and writes its key. There must be one. */
  take(keys: Uint32Array, at: number): number {
    const entry = this.#free;
    this.#free = this.get(entry, FIELD.next);
    this.#used++;
    const { words } = this.#block(entry);
    const from = this.#at(entry);
    for (let word = 0; word < KEY_WORDS; word++) words[from + word] = keys[at + word]!;
    return entry;
  }

  release(entry: number): void {
    this.#used--;
    this.#putBack(entry);
  }

  get(entry: number, field: Field): number {
    return this.#block(entry).words[this.#at(entry) + field]!;
  }

  set(entry: number, field: Field, value: number): void {
    this.#block(entry).words[this.#at(entry) + field] = value;
  }

  /** Returns a word of the key, unsigned. */
  keyWord(entry: number, word: number): number {
    return this.#block(entry).words[this.#at(entry) + word]! >>> 0;
  }

  usedAt(entry: number): number {
    return this.#block(entry).times[(this.#at(entry) + USED_AT) >> 1]!;
  }

  setUsedAt(entry: number, time: number): void {
    this.#block(entry).times[(this.#at(entry) + USED_AT) >> 1] = time;
  }

  /** Returns whether an entry is in use and was not removed. */
  isLive(entry: number): boolean {
    return this.get(entry, FIELD.model) >= 0;
  }

  #putBack(entry: number): void {
    this.set(entry, FIELD.model, -1);
    this.set(entry, FIELD.next, this.#free);
    this.#free = entry;
  }

  #block(entry: number): Block {
    return this.#blocks[entry >> this.#shift]!;
  }

  #at(entry: number): number {
    return (entry & this.#mask) * WORDS;
  }
}
