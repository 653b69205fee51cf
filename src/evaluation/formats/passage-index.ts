import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { WinnowError } from '../../errors.ts';
import type { PassageFormat, PassageReader } from './passage-formats.ts';
import { missingPassage, type Passage, type PassageStore } from './passage-store.ts';

const RECORD_GUESS = 4096;

/** FNV-1a with a final mix. Two seeds give two independent halves of a fingerprint. */
function hashOf(id: string, seed: number): number {
  let hash = seed;
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193);
  return Math.imul(hash ^ (hash >>> 15), 0x85ebca6b) >>> 0;
}

const SLOT_SEED = 0x811c9dc5;
const PRINT_SEED = 0x5bd1e995;

/**
 * Maps passage ids to the offsets of their records: open addressing over typed arrays, 16 bytes a slot, at most ¾ full. Ids themselves are
 * not kept: a fingerprint finds the few candidate records, and reading the record decides.
 */
class OffsetTable {
  #places = new Uint32Array(1 << 12);
  #prints = new Uint32Array(1 << 12);
  #offsets = new Float64Array(1 << 12).fill(-1);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(id: string, offset: number): void {
    if (4 * this.#size >= 3 * this.#offsets.length) this.#grow();
    this.#put(hashOf(id, SLOT_SEED), hashOf(id, PRINT_SEED), offset);
    this.#size++;
  }

  /** Returns the offsets of the records that may hold `id`. */
  candidates(id: string): number[] {
    const [place, print] = [hashOf(id, SLOT_SEED), hashOf(id, PRINT_SEED)];
    const mask = this.#offsets.length - 1;
    const found: number[] = [];
    for (let slot = place & mask; this.#offsets[slot]! >= 0; slot = (slot + 1) & mask)
      if (this.#prints[slot] === print && this.#places[slot] === place) found.push(this.#offsets[slot]!);
    return found;
  }

  #put(place: number, print: number, offset: number): void {
    const mask = this.#offsets.length - 1;
    let slot = place & mask;
    while (this.#offsets[slot]! >= 0) slot = (slot + 1) & mask;
    this.#places[slot] = place;
    this.#prints[slot] = print;
    this.#offsets[slot] = offset;
  }

  #grow(): void {
    const [places, prints, offsets] = [this.#places, this.#prints, this.#offsets];
    this.#places = new Uint32Array(2 * places.length);
    this.#prints = new Uint32Array(2 * places.length);
    this.#offsets = new Float64Array(2 * places.length).fill(-1);
    for (let slot = 0; slot < offsets.length; slot++)
      if (offsets[slot]! >= 0) this.#put(places[slot]!, prints[slot]!, offsets[slot]!);
  }
}

/** Assembles a record from reads at its start: yields a buffer to fill, receives the number of bytes read, and grows until it fits. */
function* recordReads({ endOf }: PassageFormat): Generator<Buffer, Buffer, number> {
  for (let room = RECORD_GUESS; ; room *= 4) {
    const buffer = Buffer.allocUnsafe(room);
    const got = yield buffer;
    const end = endOf(buffer.subarray(0, got));
    if (end >= 0 || got < room) return buffer.subarray(0, end >= 0 ? end : got);
  }
}

/** Files as one row of bytes: an offset names a file and a place in it. */
class FileRow {
  readonly #starts: readonly number[];
  readonly paths: readonly string[];

  constructor(paths: readonly string[]) {
    this.paths = paths;
    let start = 0;
    // A place between two files is left out, so that the end of an empty file is not the start of the next.
    this.#starts = paths.map((path) => {
      const own = start;
      start += statSync(path).size + 1;
      return own;
    });
  }

  startOf(file: number): number {
    return this.#starts[file]!;
  }

  /** Returns the file of an offset and the offset in it. */
  locate(offset: number): readonly [file: number, inside: number] {
    let [low, high] = [0, this.#starts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#starts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return [low, offset - this.#starts[low]!];
  }
}

/** Reads records where they are, in the calling turn. */
function readSyncAt(file: number, offset: number, format: PassageFormat): Buffer {
  const steps = recordReads(format);
  let step = steps.next(0);
  while (!step.done) step = steps.next(readSync(file, step.value, 0, step.value.length, offset));
  return step.value;
}

async function readAt(file: FileHandle, offset: number, format: PassageFormat): Promise<Buffer> {
  const steps = recordReads(format);
  let step = steps.next(0);
  while (!step.done) step = steps.next((await file.read(step.value, 0, step.value.length, offset)).bytesRead);
  return step.value;
}

async function buildTable(row: FileRow, format: PassageFormat, place = format.place): Promise<OffsetTable> {
  const table = new OffsetTable();
  const idAt = (offset: number): string => {
    const [other, inside] = row.locate(offset);
    const path = row.paths[other]!;
    const file = openSync(path, 'r');
    try {
      return format.parse(readSyncAt(file, inside, format), path).id;
    } finally {
      closeSync(file);
    }
  };
  for (const [i, path] of row.paths.entries())
    await format.scan(path, ({ id }, line, offset) => {
      for (const other of table.candidates(id))
        if (idAt(other) === id) {
          const where = place(path, line);
          throw new WinnowError('invalid_input', { where, expected: 'each passage once', got: `${id} again` });
        }
      table.add(id, row.startOf(i) + offset);
    });
  return table;
}

/** Yields the passages of several files. */
export async function* scanAll(paths: readonly string[], format: PassageReader): AsyncGenerator<Passage> {
  for (const path of paths) yield* format.entries(path);
}

/**
 * Opens a store that keeps only offsets in memory and reads texts from the files on demand. One pass over the files builds it.
 *
 * @param paths files that are not packed.
 * @param names how messages name the collection and a record of it, if not by `paths`.
 */
export async function indexPassages(
  paths: readonly string[],
  format: PassageFormat,
  names?: { readonly source: string; readonly place: (path: string, line: number) => string },
): Promise<PassageStore> {
  const row = new FileRow(paths);
  const table = await buildTable(row, format, names?.place);
  // A single file stays open. A collection may have more files than a process may keep open.
  const single = paths.length === 1 ? await open(paths[0]!, 'r') : undefined;
  const read = async (place: number): Promise<Passage> => {
    const [at, inside] = row.locate(place);
    const path = paths[at]!;
    const file = single ?? (await open(path, 'r'));
    try {
      return format.parse(await readAt(file, inside, format), path);
    } finally {
      if (file !== single) await file.close();
    }
  };
  const find = async (id: string): Promise<string> => {
    for (const offset of table.candidates(id)) {
      const passage = await read(offset);
      if (passage.id === id) return passage.text;
    }
    throw missingPassage(names?.source ?? paths.join(', '), id);
  };
  return {
    size: table.size,
    async texts(ids) {
      if (single) return Promise.all(ids.map(find));
      const texts: string[] = [];
      for (const id of ids) texts.push(await find(id));
      return texts;
    },
    entries: () => scanAll(paths, format),
    close: async () => single?.close(),
  };
}
