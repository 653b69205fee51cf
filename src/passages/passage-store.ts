import { EntryTable, FIELD } from './entry-table.ts';
import { KeyIndex } from './key-index.ts';
import type { PassageKeys } from './passage-types.ts';
import { classOf, type Page, Slabs, slotBytes } from './slabs.ts';
import { UseOrder } from './use-order.ts';

/** Bytes of an entry in the tables. */
const TABLE_BYTES = 80;
/** The index has room for one entry in so many bytes: values of 384 numbers take half as much again. */
const BYTES_PER_ENTRY = 1024;
/** Largest value, as a part of the cache. */
const LARGEST_PART = 1 / 8;
/** Size of a page, as a part of the cache, within limits. */
const PAGE_PART = 1 / 256;
const PAGE_LIMITS = { least: 2 ** 13, most: 2 ** 22 } as const;
/** Entries of a block of the table, within limits. */
const BLOCK_LIMITS = { least: 16, most: 4096 } as const;
const BLOCK_PART = 1 / 64;
/**
 * An entry of the same size class makes room, rather than the oldest entry of all with its whole page, unless that one was unused for so many
 * times as long.
 */
const MUCH_OLDER = 2;
/** Pages that are tried before a value is not kept, because entries in them are being read. */
const TRIES = 32;

const powerBelow = (value: number) => 2 ** Math.floor(Math.log2(Math.max(1, value)));
const within = (value: number, { least, most }: { readonly least: number; readonly most: number }) =>
  Math.min(most, Math.max(least, value));

interface NewEntry {
  readonly keys: PassageKeys;
  /** Where its key starts, in words. */
  readonly at: number;
  /** Number of its version, of the store's user. */
  readonly model: number;
  readonly tokens: number;
  readonly value: Uint8Array;
}

interface StoreOptions {
  readonly bytes: number;
  /** Called before an entry leaves to make room. */
  readonly onEvict: (entry: number) => void;
}

/**
 * Values of any length by 128-bit key, in at most `bytes` bytes, tables included. Those unused for the longest leave first: exactly among
 * values of like size, nearly so among all. Values outside the JavaScript heap; no object for an entry. Entries are small numbers.
 *
 * An entry that is pinned is neither moved nor changed, and its memory stays when it is removed, until it is unpinned.
 */
export class PassageStore {
  readonly #limit: number;
  readonly #mostEntries: number;
  readonly #onEvict: (entry: number) => void;
  readonly #table: EntryTable;
  readonly #index: KeyIndex;
  readonly #slabs: Slabs;
  readonly #order: UseOrder;
  #entries = 0;

  constructor({ bytes, onEvict }: StoreOptions) {
    this.#limit = bytes;
    this.#onEvict = onEvict;
    this.#mostEntries = Math.max(1, Math.floor(bytes / BYTES_PER_ENTRY));
    this.#table = new EntryTable(powerBelow(within(this.#mostEntries * BLOCK_PART, BLOCK_LIMITS)));
    this.#index = new KeyIndex(this.#mostEntries, (entry, word) => this.#table.keyWord(entry, word));
    this.#slabs = new Slabs(powerBelow(within(bytes * PAGE_PART, PAGE_LIMITS)));
    this.#order = new UseOrder(this.#table);
  }

  get bytes(): number {
    return this.#index.bytes + this.#table.bytes + this.#slabs.bytes;
  }

  get entries(): number {
    return this.#entries;
  }

  /** One more than the highest entry. */
  get end(): number {
    return this.#table.end;
  }

  /** Returns the entry of the key at `keys[at …]`; −1 without one. */
  find(keys: PassageKeys, at: number): number {
    return this.#index.find(keys, at);
  }

  /** Keeps an entry as it is until `unpin`, and counts as its use. */
  pin(entry: number): void {
    const pins = this.#table.get(entry, FIELD.pins);
    this.#table.set(entry, FIELD.pins, pins + 1);
    if (pins > 0) return;
    const page = this.#pageOf(entry);
    page.pinned++;
    this.#order.remove(entry, page.sizeClass);
  }

  unpin(entry: number): void {
    const pins = this.#table.get(entry, FIELD.pins) - 1;
    this.#table.set(entry, FIELD.pins, pins);
    if (pins > 0) return;
    const page = this.#pageOf(entry);
    page.pinned--;
    if (this.#table.isLive(entry)) this.#order.add(entry, page.sizeClass);
    else this.#free(entry, page);
  }

  /** Returns the value, a view of the memory that is valid while the entry is pinned. */
  value(entry: number): Uint8Array {
    const page = this.#pageOf(entry);
    const start = this.#table.get(entry, FIELD.slot) * slotBytes(page.sizeClass);
    return page.bytes.subarray(start, start + this.#table.get(entry, FIELD.length));
  }

  key(entry: number): PassageKeys {
    return Uint32Array.from({ length: 4 }, (_, word) => this.#table.keyWord(entry, word));
  }

  tokens(entry: number): number {
    return this.#table.get(entry, FIELD.tokens);
  }

  /** Returns the number of an entry's version; −1 where there is no such entry. */
  model(entry: number): number {
    return this.#table.get(entry, FIELD.model);
  }

  /** Returns the memory of one entry. */
  bytesOf(entry: number): number {
    return slotBytes(this.#pageOf(entry).sizeClass) + TABLE_BYTES;
  }

  /**
   * Copies a value into the store; its key must not be there. Returns −1 if it is not kept: it is too large, or what would have to leave is
   * pinned.
   * @param mayEvict Whether other entries may leave for it.
   */
  insert({ keys, at, model, tokens, value }: NewEntry, mayEvict = true): number {
    if (value.byteLength > this.#limit * LARGEST_PART) return -1;
    const sizeClass = classOf(value.byteLength);
    if (!this.#prepareEntry(mayEvict)) return -1;
    const page = this.#room(sizeClass, mayEvict);
    if (!page) return -1;
    const entry = this.#table.take(keys, at);
    const slot = this.#slabs.take(page, entry);
    this.#table.set(entry, FIELD.page, page.id);
    this.#table.set(entry, FIELD.slot, slot);
    this.#table.set(entry, FIELD.length, value.byteLength);
    this.#table.set(entry, FIELD.tokens, tokens);
    this.#table.set(entry, FIELD.model, model);
    this.#table.set(entry, FIELD.pins, 0);
    page.bytes.set(value, slot * slotBytes(sizeClass));
    this.#index.add(entry);
    this.#order.add(entry, sizeClass);
    this.#entries++;
    return entry;
  }

  /** Removes an entry. A pinned one can no longer be found, and its memory is free when it is unpinned. */
  remove(entry: number): void {
    const page = this.#pageOf(entry);
    this.#index.remove(entry);
    this.#table.set(entry, FIELD.model, -1);
    this.#entries--;
    if (this.#table.get(entry, FIELD.pins) > 0) return;
    this.#order.remove(entry, page.sizeClass);
    this.#free(entry, page);
  }

  /** Gives back the memory that no entry uses. */
  trim(): void {
    for (let page = this.#slabs.emptyPage(); page; page = this.#slabs.emptyPage()) this.#slabs.remove(page);
    if (this.#table.used === 0) this.#table.reset();
  }

  #pageOf(entry: number): Page {
    return this.#slabs.page(this.#table.get(entry, FIELD.page));
  }

  #free(entry: number, page: Page): void {
    this.#slabs.release(page, this.#table.get(entry, FIELD.slot));
    this.#table.release(entry);
  }

  #evict(entry: number): void {
    this.#onEvict(entry);
    this.remove(entry);
  }

  /** Makes sure that the table has a free entry. */
  #prepareEntry(mayEvict: boolean): boolean {
    if (this.#entries >= this.#mostEntries) {
      const oldest = mayEvict ? this.#order.oldest() : -1;
      if (oldest < 0) return false;
      this.#evict(oldest);
    }
    if (!this.#table.isFull) return true;
    if (!this.#fits(this.#table.blockBytes, mayEvict)) return false;
    this.#table.grow();
    return true;
  }

  /** Returns a page with a free slot. */
  #room(sizeClass: number, mayEvict: boolean): Page | undefined {
    const open = this.#slabs.openPage(sizeClass);
    if (open) return open;
    if (mayEvict && this.#isFull(sizeClass) && this.#prefersOwn(sizeClass)) {
      this.#evict(this.#order.last(sizeClass));
      return this.#slabs.openPage(sizeClass);
    }
    if (this.#fits(this.#slabs.pageBytesOf(sizeClass), mayEvict)) return this.#slabs.add(sizeClass);
    const last = mayEvict ? this.#order.last(sizeClass) : -1;
    if (last < 0) return undefined;
    this.#evict(last);
    return this.#slabs.openPage(sizeClass);
  }

  /** Whether a page of a size class takes the room of entries. */
  #isFull(sizeClass: number): boolean {
    return !this.#slabs.emptyPage() && this.bytes + this.#slabs.pageBytesOf(sizeClass) > this.#limit;
  }

  /** Whether an entry of the same size class should leave, rather than a whole page of another. */
  #prefersOwn(sizeClass: number): boolean {
    const own = this.#order.last(sizeClass);
    if (own < 0) return false;
    return this.#order.age(this.#order.oldest()) <= MUCH_OLDER * this.#order.age(own);
  }

  /** Makes `bytes` more bytes fit into the limit. */
  #fits(bytes: number, mayEvict: boolean): boolean {
    while (this.bytes + bytes > this.#limit) {
      const page = this.#slabs.emptyPage() ?? (mayEvict ? this.#emptiedPage() : undefined);
      if (!page) return false;
      this.#slabs.remove(page);
    }
    return true;
  }

  /** Evicts the entries of the page with the oldest entry, or of one with an entry nearly as old. */
  #emptiedPage(): Page | undefined {
    let entry = this.#order.oldest();
    for (let tries = 0; entry >= 0 && tries < TRIES; tries++) {
      const page = this.#pageOf(entry);
      if (page.pinned === 0) {
        for (const other of page.entryOf) if (other >= 0) this.#evict(other);
        return page;
      }
      entry = this.#order.newer(entry);
    }
    return undefined;
  }
}
