/** Bytes of the smallest slot; all slots are multiples of 8 bytes, so that numbers in them are aligned. */
const SMALLEST = 64;
/** Size classes for each doubling: at most an eighth of a slot is unused. */
const STEPS = 8;

/** Returns the number of the size class of a value. */
export function classOf(bytes: number): number {
  if (bytes <= SMALLEST) return 0;
  const power = 31 - Math.clz32(bytes - 1);
  const step = 2 ** power / STEPS;
  return (power - Math.log2(SMALLEST)) * STEPS + Math.ceil((bytes - 2 ** power) / step);
}

/** Returns the bytes of a slot of a size class. */
export function slotBytes(sizeClass: number): number {
  if (sizeClass === 0) return SMALLEST;
  const power = Math.log2(SMALLEST) + Math.floor((sizeClass - 1) / STEPS);
  return 2 ** power + (((sizeClass - 1) % STEPS) + 1) * (2 ** power / STEPS);
}

/** Slots of one size class in one buffer. */
export interface Page {
  readonly id: number;
  readonly sizeClass: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The entry in each slot, −1 in free ones. */
  readonly entryOf: Int32Array;
  /** Numbers of free slots, a stack of `freeSlots`. */
  readonly free: Int32Array;
  freeSlots: number;
  /** Entries that are being read. */
  pinned: number;
  /** Place among the pages of its class with free slots; −1 for a full one. */
  place: number;
}

/** Slots from which on a page has the common size: what it wastes is less than one of them. */
const MANY_SLOTS = 8;

/** Bytes of a slot in the tables of its page. */
const SLOT_TABLE_BYTES = 8;
/** Bytes of the objects of a page. */
const PAGE_BYTES = 512;

/** Memory outside the JavaScript heap, in pages of slots of equal size. Pages are allocated and given back whole. */
export class Slabs {
  readonly #pageBytes: number;
  readonly #pages: (Page | undefined)[] = [];
  readonly #freeIds: number[] = [];
  /** For each size class, its pages with free slots. */
  readonly #open: (Page[] | undefined)[] = [];
  readonly #empty = new Set<Page>();
  #bytes = 0;

  /** @param pageBytes Bytes of a page of small slots; a larger slot is a page of its own. */
  constructor(pageBytes: number) {
    this.#pageBytes = pageBytes;
  }

  /** Bytes of all pages, tables included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Returns what a new page of a size class takes. */
  pageBytesOf(sizeClass: number): number {
    return this.#bufferBytes(sizeClass) + this.#slotsOf(sizeClass) * SLOT_TABLE_BYTES + PAGE_BYTES;
  }

  page(id: number): Page {
    return this.#pages[id]!;
  }

  /** Returns a page of a size class with a free slot. */
  openPage(sizeClass: number): Page | undefined {
    return this.#open[sizeClass]?.at(-1);
  }

  /** Allocates a page. */
  add(sizeClass: number): Page {
    const slots = this.#slotsOf(sizeClass);
    const id = this.#freeIds.pop() ?? this.#pages.length;
    const page: Page = {
      id,
      sizeClass,
      bytes: new Uint8Array(this.#bufferBytes(sizeClass)),
      entryOf: new Int32Array(slots).fill(-1),
      free: new Int32Array(slots).map((_, i) => slots - 1 - i),
      freeSlots: slots,
      pinned: 0,
      place: -1,
    };
    this.#pages[id] = page;
    this.#bytes += this.pageBytesOf(sizeClass);
    this.#openUp(page);
    this.#empty.add(page);
    return page;
  }

  /** Puts an entry into a free slot of a page. Returns the slot. */
  take(page: Page, entry: number): number {
    const slot = page.free[--page.freeSlots]!;
    page.entryOf[slot] = entry;
    this.#empty.delete(page);
    if (page.freeSlots === 0) this.#shut(page);
    return slot;
  }

  release(page: Page, slot: number): void {
    page.entryOf[slot] = -1;
    page.free[page.freeSlots++] = slot;
    if (page.place < 0) this.#openUp(page);
    if (page.freeSlots === page.entryOf.length) this.#empty.add(page);
  }

  /** Gives an empty page back. */
  remove(page: Page): void {
    this.#shut(page);
    this.#empty.delete(page);
    this.#bytes -= this.pageBytesOf(page.sizeClass);
    this.#pages[page.id] = undefined;
    this.#freeIds.push(page.id);
    // Detaches the buffer, so that its memory is free before the next garbage collection.
    page.bytes.buffer.transfer(0);
  }

  /** Returns an empty page, if there is one. */
  emptyPage(): Page | undefined {
    for (const page of this.#empty) return page;
    return undefined;
  }

  #slotsOf(sizeClass: number): number {
    return Math.max(1, Math.floor(this.#pageBytes / slotBytes(sizeClass)));
  }

  /** Buffers of equal size leave no gaps in the memory of the process when other classes take their place. */
  #bufferBytes(sizeClass: number): number {
    const slots = this.#slotsOf(sizeClass);
    return slots < MANY_SLOTS ? slots * slotBytes(sizeClass) : this.#pageBytes;
  }

  #openUp(page: Page): void {
    this.#open[page.sizeClass] ??= [];
    page.place = this.#open[page.sizeClass]!.push(page) - 1;
  }

  #shut(page: Page): void {
    if (page.place < 0) return;
    const pages = this.#open[page.sizeClass]!;
    const last = pages.pop()!;
    if (last !== page) {
      pages[page.place] = last;
      last.place = page.place;
    }
    page.place = -1;
  }
}
