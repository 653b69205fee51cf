import { type EntryTable, FIELD } from './entry-table.ts';

/** Entries of each size class in the order of their last use, as links in the table. Entries that are being read are in no order. */
export class UseOrder {
  readonly #table: EntryTable;
  /** For each size class, its first (last used) and last entry. */
  readonly #first: number[] = [];
  readonly #last: number[] = [];
  /** Counts uses. */
  #time = 0;

  constructor(table: EntryTable) {
    this.#table = table;
  }

  /** Puts an entry first. */
  add(entry: number, sizeClass: number): void {
    for (let known = this.#first.length; known <= sizeClass; known++) {
      this.#first.push(-1);
      this.#last.push(-1);
    }
    const next = this.#first[sizeClass]!;
    this.#table.set(entry, FIELD.before, -1);
    this.#table.set(entry, FIELD.next, next);
    this.#table.setUsedAt(entry, ++this.#time);
    this.#first[sizeClass] = entry;
    if (next < 0) this.#last[sizeClass] = entry;
    else this.#table.set(next, FIELD.before, entry);
  }

  remove(entry: number, sizeClass: number): void {
    const before = this.#table.get(entry, FIELD.before);
    const next = this.#table.get(entry, FIELD.next);
    if (before < 0) this.#first[sizeClass] = next;
    else this.#table.set(before, FIELD.next, next);
    if (next < 0) this.#last[sizeClass] = before;
    else this.#table.set(next, FIELD.before, before);
  }

  /** Returns the entry of a size class that was not used for the longest; −1 without one. */
  last(sizeClass: number): number {
    return this.#last[sizeClass] ?? -1;
  }

  /** Returns the entry used next after `entry` in its class; −1 after the most recent one. */
  newer(entry: number): number {
    return this.#table.get(entry, FIELD.before);
  }

  /** Returns the entry of all classes that was not used for the longest; −1 without one. */
  oldest(): number {
    let oldest = -1;
    let time = Number.POSITIVE_INFINITY;
    for (const entry of this.#last) {
      if (entry < 0) continue;
      const usedAt = this.#table.usedAt(entry);
      if (usedAt < time) [oldest, time] = [entry, usedAt];
    }
    return oldest;
  }

  /** Returns how many uses ago an entry was used. */
  age(entry: number): number {
    return this.#time - this.#table.usedAt(entry);
  }
}
