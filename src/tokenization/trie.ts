/** Numbers of a slot: node, unit, child. Three adjacent numbers share a cache line. */
const STRIDE = 3;

/**
 * A prefix tree over UTF-16 code units in one open-addressed table. Node 0 is the root. Texts are well-formed, so matching code units gives
 * the same result as matching code points.
 */
export class UnitTrie {
  #slots: Int32Array;
  #mask: number;
  #edges = 0;
  #values: Int32Array;

  constructor(expectedEdges = 1 << 10) {
    const capacity = 1 << Math.max(4, Math.ceil(Math.log2(expectedEdges * 2)));
    this.#slots = new Int32Array(capacity * STRIDE).fill(-1);
    this.#mask = capacity - 1;
    this.#values = new Int32Array(expectedEdges + 1).fill(-1);
  }

  /** Returns the node reached from `node` by `unit`, or -1. */
  child(node: number, unit: number): number {
    const slots = this.#slots;
    for (let i = slotOf(node, unit) & this.#mask; ; i = (i + 1) & this.#mask) {
      const at = i * STRIDE;
      const owner = slots[at]!;
      if (owner === -1) return -1;
      if (owner === node && slots[at + 1] === unit) return slots[at + 2]!;
    }
  }

  /** Returns the value of the text that ends at `node`, or -1. */
  value(node: number): number {
    return this.#values[node]!;
  }

  /** Returns the node reached from the root by `text`, or -1. */
  find(text: string): number {
    let node = 0;
    for (let i = 0; i < text.length && node >= 0; i++) node = this.child(node, text.charCodeAt(i));
    return node;
  }

  /** Adds `text`; a later value replaces an earlier one. */
  insert(text: string, value: number): void {
    let node = 0;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      const next = this.child(node, unit);
      node = next >= 0 ? next : this.#addEdge(node, unit);
    }
    this.#values[node] = value;
  }

  #addEdge(node: number, unit: number): number {
    const child = ++this.#edges;
    if (child >= this.#values.length) this.#values = grown(this.#values);
    if (child * 2 > this.#mask) this.#rehash();
    this.#place(node, unit, child);
    return child;
  }

  #place(node: number, unit: number, child: number): void {
    let i = slotOf(node, unit) & this.#mask;
    while (this.#slots[i * STRIDE] !== -1) i = (i + 1) & this.#mask;
    this.#slots.set([node, unit, child], i * STRIDE);
  }

  #rehash(): void {
    const old = this.#slots;
    this.#slots = new Int32Array(old.length * 2).fill(-1);
    this.#mask = this.#mask * 2 + 1;
    for (let at = 0; at < old.length; at += STRIDE)
      if (old[at] !== -1) this.#place(old[at]!, old[at + 1]!, old[at + 2]!);
  }
}

/** Mixes node and unit (multipliers of MurmurHash3's finalizer and of Knuth). */
function slotOf(node: number, unit: number): number {
  const x = Math.imul(node, 0x9e3779b1) ^ Math.imul(unit, 0x85ebca6b);
  return (x ^ (x >>> 15)) >>> 0;
}

function grown(values: Int32Array): Int32Array {
  const next = new Int32Array(values.length * 2).fill(-1);
  next.set(values);
  return next;
}
