import { closeSync, openSync, readSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { readLines, scanLines } from '../../util/lines.ts';
import { badLine, placeOf } from '../../util/text.ts';
import { missingPassage, type Passage, type PassageParser, type PassageStore } from './passage-store.ts';

const NEWLINE = 10;
const LINE_GUESS = 4096;

/** FNV-1a with a final mix. Two seeds give two independent halves of a fingerprint. */
function hashOf(id: string, seed: number): number {
  let hash = seed;
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193);
  return Math.imul(hash ^ (hash >>> 15), 0x85ebca6b) >>> 0;
}

const SLOT_SEED = 0x811c9dc5;
const PRINT_SEED = 0x5bd1e995;

/**
 * Maps passage ids to the offsets of their lines: open addressing over typed arrays, 16 bytes a slot, at most ¾ full. Ids themselves are
 * not kept: a fingerprint finds the few candidate lines, and reading the line decides.
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

  /** Returns the offsets of the lines that may hold `id`. */
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

const endOfLine = (buffer: Buffer, length: number): number => {
  const end = buffer.subarray(0, length).indexOf(NEWLINE);
  return end > 0 && buffer[end - 1] === 13 ? end - 1 : end;
};

/** Assembles a line from reads at its start: yields a buffer to fill, receives the number of bytes read, and grows until the line fits. */
function* lineReads(): Generator<Buffer, string, number> {
  for (let room = LINE_GUESS; ; room *= 4) {
    const buffer = Buffer.allocUnsafe(room);
    const got = yield buffer;
    const end = endOfLine(buffer, got);
    if (end >= 0 || got < room) return buffer.toString('utf8', 0, end >= 0 ? end : got);
  }
}

function readLineSync(file: number, offset: number): string {
  const steps = lineReads();
  let step = steps.next(0);
  while (!step.done) step = steps.next(readSync(file, step.value, 0, step.value.length, offset));
  return step.value;
}

async function readLine(file: FileHandle, offset: number): Promise<string> {
  const steps = lineReads();
  let step = steps.next(0);
  while (!step.done) step = steps.next((await file.read(step.value, 0, step.value.length, offset)).bytesRead);
  return step.value;
}

async function buildTable(path: string, parse: PassageParser): Promise<OffsetTable> {
  const table = new OffsetTable();
  const file = openSync(path, 'r');
  try {
    await scanLines(path, (buffer, start, end, line, offset) => {
      if (start === end) return;
      const { id } = parse(buffer.toString('utf8', start, end), placeOf(path, line));
      for (const other of table.candidates(id))
        if (parse(readLineSync(file, other), path).id === id)
          throw badLine(path, line, 'each passage once', `${id} again`);
      table.add(id, offset);
    });
  } finally {
    closeSync(file);
  }
  return table;
}

async function* scanPassages(path: string, parse: PassageParser): AsyncGenerator<Passage> {
  for await (const { line, text } of readLines(path)) if (text !== '') yield parse(text, placeOf(path, line));
}

/** Opens a store that keeps only offsets in memory and reads texts from the file on demand. One pass over the file builds it. */
export async function indexPassages(path: string, parse: PassageParser): Promise<PassageStore> {
  const table = await buildTable(path, parse);
  const file = await open(path, 'r');
  const find = async (id: string): Promise<string> => {
    for (const offset of table.candidates(id)) {
      const passage = parse(await readLine(file, offset), path);
      if (passage.id === id) return passage.text;
    }
    throw missingPassage(path, id);
  };
  return {
    size: table.size,
    texts: (ids) => Promise.all(ids.map(find)),
    entries: () => scanPassages(path, parse),
    close: () => file.close(),
  };
}
