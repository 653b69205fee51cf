const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Order of documents of equal score, by the bytes of their ids: trec_eval descending, MS MARCO's own script ascending. */
export type Ties = 'descending' | 'ascending';

const growArray = <T extends Uint8Array | Uint32Array | Int32Array | Float64Array>(array: T, length: number): T => {
  const next = new (array.constructor as new (n: number) => T)(Math.max(length, array.length * 2));
  next.set(array as never);
  return next;
};

function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}

/**
 * Holds the retrieved documents of one query: docids as UTF-8 in one arena, scores as doubles, a hash table over the ids. It allocates no
 * object per document and `clear` keeps the memory, so one list serves a run of millions of lines.
 */
export class HitList {
  #arena: Uint8Array;
  #offsets: Uint32Array;
  #scores: Float64Array;
  #table: Int32Array;
  #size = 0;

  /** @param room documents that fit before the arrays grow. */
  constructor(room = 1024) {
    this.#arena = new Uint8Array(16 * room);
    this.#offsets = new Uint32Array(room + 1);
    this.#scores = new Float64Array(room);
    this.#table = new Int32Array(2 ** Math.ceil(Math.log2(2 * room)));
  }

  get size(): number {
    return this.#size;
  }

  clear(): void {
    this.#size = 0;
    this.#table.fill(0);
  }

  /** Adds one document and copies its bytes. Returns `false`, without a change, if the docid is there already. */
  add(bytes: Uint8Array, start: number, end: number, score: number): boolean {
    if (2 * this.#size >= this.#table.length) this.#rehash();
    const slot = this.#slot(bytes, start, end);
    if (this.#table[slot] !== 0) return false;
    const at = this.#offsets[this.#size]!;
    const stop = at + end - start;
    if (stop > this.#arena.length) this.#arena = growArray(this.#arena, stop);
    if (this.#size === this.#scores.length) {
      this.#scores = growArray(this.#scores, 0);
      this.#offsets = growArray(this.#offsets, 2 * this.#size + 1);
    }
    for (let i = start, j = at; i < end; ) this.#arena[j++] = bytes[i++]!;
    this.#scores[this.#size++] = score;
    this.#offsets[this.#size] = stop;
    this.#table[slot] = this.#size;
    return true;
  }

  addText(docid: string, score: number): boolean {
    const bytes = encoder.encode(docid);
    return this.add(bytes, 0, bytes.length, score);
  }

  score(index: number): number {
    return this.#scores[index]!;
  }

  docid(index: number): string {
    return decoder.decode(this.#arena.subarray(this.#offsets[index]!, this.#offsets[index + 1]!));
  }

  /** Returns the position of a docid in order of arrival, −1 if it was not retrieved. */
  find(docid: string): number {
    const bytes = encoder.encode(docid);
    return this.#table[this.#slot(bytes, 0, bytes.length)]! - 1;
  }

  /** Returns positions by score descending, equal scores by the byte order of their docids. */
  order(ties: Ties = 'descending'): Uint32Array {
    const order = new Uint32Array(this.#size);
    for (let i = 0; i < order.length; i++) order[i] = i;
    const sign = ties === 'descending' ? -1 : 1;
    const scores = this.#scores;
    const compare = (a: number, b: number): number => {
      const x = scores[a]!;
      const y = scores[b]!;
      return x > y ? -1 : x < y ? 1 : sign * this.#compareIds(a, b);
    };
    for (let i = 1; i < order.length; i++) if (compare(i - 1, i) > 0) return order.sort(compare);
    return order; // most runs arrive sorted
  }

  #compareIds(a: number, b: number): number {
    const startA = this.#offsets[a]!;
    const startB = this.#offsets[b]!;
    const lengthA = this.#offsets[a + 1]! - startA;
    const lengthB = this.#offsets[b + 1]! - startB;
    for (let i = 0; i < lengthA && i < lengthB; i++) {
      const difference = this.#arena[startA + i]! - this.#arena[startB + i]!;
      if (difference !== 0) return difference;
    }
    return lengthA - lengthB;
  }

  /** Returns the slot that holds these bytes, or the free slot to put them in. */
  #slot(bytes: Uint8Array, start: number, end: number): number {
    const mask = this.#table.length - 1;
    for (let slot = hashOf(bytes, start, end) & mask; ; slot = (slot + 1) & mask) {
      const entry = this.#table[slot]!;
      if (entry === 0 || this.#equals(entry - 1, bytes, start, end)) return slot;
    }
  }

  #equals(index: number, bytes: Uint8Array, start: number, end: number): boolean {
    const at = this.#offsets[index]!;
    if (this.#offsets[index + 1]! - at !== end - start) return false;
    for (let i = start, j = at; i < end; ) if (this.#arena[j++] !== bytes[i++]) return false;
    return true;
  }

  #rehash(): void {
    this.#table = new Int32Array(this.#table.length * 2);
    for (let i = 0; i < this.#size; i++)
      this.#table[this.#slot(this.#arena, this.#offsets[i]!, this.#offsets[i + 1]!)] = i + 1;
  }
}
