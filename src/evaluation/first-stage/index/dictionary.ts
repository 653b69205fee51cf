import { readSync } from 'node:fs';
import { ByteReader } from './byte-files.ts';
import type { IndexFiles } from './index-files.ts';

/** Position of a term's postings. */
interface TermEntry {
  /** Passages that have the term. */
  readonly passages: number;
  readonly offset: number;
  readonly bytes: number;
}

interface Block {
  readonly first: string;
  readonly termsAt: number;
  readonly postingsAt: number;
}

function readBlocks(path: string): Block[] {
  const reader = new ByteReader(path);
  const blocks: Block[] = [];
  try {
    while (!reader.ended) blocks.push({ first: reader.text(), termsAt: reader.varint(), postingsAt: reader.varint() });
  } finally {
    reader.close();
  }
  return blocks;
}

/** Reads varints and texts from bytes in memory. */
class Cursor {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get ended(): boolean {
    return this.#at >= this.#bytes.length;
  }

  varint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.#bytes[this.#at++]!;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  }

  text(): string {
    const length = this.varint();
    this.#at += length;
    return this.#bytes.toString('utf8', this.#at - length, this.#at);
  }
}

/** Finds a term with one read: the first term of every block of 128 is in memory, the block itself on disk. */
export class Dictionary {
  readonly #blocks: readonly Block[];
  readonly #file: number;
  readonly #size: number;

  /** @param file descriptor of the terms' file, @param size its bytes. */
  constructor(files: IndexFiles, file: number, size: number) {
    this.#blocks = readBlocks(files.blocks);
    this.#file = file;
    this.#size = size;
  }

  find(term: string): TermEntry | undefined {
    const at = this.#blockOf(term);
    if (at < 0) return undefined;
    const block = this.#blocks[at]!;
    const bytes = Buffer.allocUnsafe((this.#blocks[at + 1]?.termsAt ?? this.#size) - block.termsAt);
    readSync(this.#file, bytes, 0, bytes.length, block.termsAt);
    const cursor = new Cursor(bytes);
    let offset = block.postingsAt;
    while (!cursor.ended) {
      const name = cursor.text();
      const entry = { passages: cursor.varint(), offset, bytes: cursor.varint() };
      if (name === term) return entry;
      offset += entry.bytes;
    }
    return undefined;
  }

  /** Returns the last block that starts at or before `term`; −1 if all start after it. */
  #blockOf(term: string): number {
    let [low, high] = [0, this.#blocks.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#blocks[middle]!.first <= term) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}
