import { termOf, tokenize } from '../analyzer.ts';
import { ByteWriter } from './byte-files.ts';

/** V8 may store words of this length or more as slices of their passage, which keeps the whole passage in memory. */
const SLICED_LENGTH = 13;

/** Copies a word that may be a slice of its passage. */
const ownedText = (word: string): string =>
  word.length < SLICED_LENGTH ? word : Buffer.from(word, 'utf8').toString('utf8');

/** Encodes one term's postings. */
class Encoder {
  #bytes = Buffer.allocUnsafe(1 << 16);
  #used = 0;

  get written(): Uint8Array {
    return this.#bytes.subarray(0, this.#used);
  }

  clear(): void {
    this.#used = 0;
  }

  /** Appends a passage by its distance from the previous one; the lowest bit means a frequency of 1. */
  posting(distance: number, frequency: number): void {
    this.varint(2 * distance + (frequency === 1 ? 1 : 0));
    if (frequency !== 1) this.varint(frequency);
  }

  varint(value: number): void {
    if (this.#used + 10 > this.#bytes.length) {
      const grown = Buffer.allocUnsafe(2 * this.#bytes.length);
      grown.set(this.written);
      this.#bytes = grown;
    }
    let rest = value;
    while (rest >= 128) {
      this.#bytes[this.#used++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.#used++] = rest;
  }
}

/**
 * Collects postings of consecutive passages in memory, 12 bytes each, up to `capacity`. `flush` writes them as one sorted run: term, number
 * of passages, first passage and its frequency, last passage, and the encoded rest.
 */
export class PostingsBatch {
  #terms: Uint32Array;
  #passages: Uint32Array;
  #frequencies: Uint32Array;
  readonly #words = new Map<string, number>();
  readonly #ids = new Map<string, number>();
  readonly #names: string[] = [];
  #scratch = new Int32Array(1024);
  #used = 0;

  constructor(capacity: number) {
    this.#terms = new Uint32Array(capacity);
    this.#passages = new Uint32Array(capacity);
    this.#frequencies = new Uint32Array(capacity);
  }

  get postings(): number {
    return this.#used;
  }

  /** Adds a passage and returns its length in terms, or −1 without adding it if the batch must be flushed first. */
  add(passage: number, text: string): number {
    const words = tokenize(text);
    if (this.#used > 0 && this.#used + words.length > this.#terms.length) return -1;
    if (words.length > this.#terms.length) this.#grow(words.length);
    if (words.length > this.#scratch.length) this.#scratch = new Int32Array(2 * words.length);
    let length = 0;
    for (const word of words) {
      const id = this.#words.get(word) ?? this.#addWord(word);
      if (id >= 0) this.#scratch[length++] = id;
    }
    const ids = this.#scratch.subarray(0, length).sort();
    for (let i = 0; i < length; ) {
      let end = i + 1;
      while (end < length && ids[end] === ids[i]) end++;
      this.#push(ids[i]!, passage, end - i);
      i = end;
    }
    return length;
  }

  /** Writes the run to `path` and empties the batch. */
  flush(path: string): void {
    const order = this.#names.map((_, id) => id).sort((a, b) => (this.#names[a]! < this.#names[b]! ? -1 : 1));
    const { starts, places } = this.#byTerm();
    const writer = new ByteWriter(path);
    const encoder = new Encoder();
    for (const id of order) this.#writeTerm(writer, encoder, id, places.subarray(starts[id]!, starts[id + 1]!));
    writer.close();
    this.#words.clear();
    this.#ids.clear();
    this.#names.length = 0;
    this.#used = 0;
  }

  /** Makes room for a single passage of more words than the batch holds; the batch is empty then. */
  #grow(capacity: number): void {
    this.#terms = new Uint32Array(capacity);
    this.#passages = new Uint32Array(capacity);
    this.#frequencies = new Uint32Array(capacity);
  }

  #addWord(word: string): number {
    const term = termOf(word);
    let id = -1;
    if (term !== undefined) {
      id = this.#ids.get(term) ?? this.#names.length;
      if (id === this.#names.length) {
        const name = ownedText(term);
        this.#ids.set(name, id);
        this.#names.push(name);
      }
    }
    this.#words.set(ownedText(word), id);
    return id;
  }

  #push(term: number, passage: number, frequency: number): void {
    this.#terms[this.#used] = term;
    this.#passages[this.#used] = passage;
    this.#frequencies[this.#used++] = frequency;
  }

  /** Sorts postings by term with a counting sort; passages stay in order. */
  #byTerm(): { starts: Uint32Array; places: Uint32Array } {
    const starts = new Uint32Array(this.#names.length + 1);
    for (let i = 0; i < this.#used; i++) starts[this.#terms[i]! + 1]!++;
    for (let id = 0; id < this.#names.length; id++) starts[id + 1]! += starts[id]!;
    const next = starts.slice();
    const places = new Uint32Array(this.#used);
    for (let i = 0; i < this.#used; i++) places[next[this.#terms[i]!]!++] = i;
    return { starts, places };
  }

  #writeTerm(writer: ByteWriter, encoder: Encoder, id: number, places: Uint32Array): void {
    encoder.clear();
    const passages = this.#passages;
    for (let i = 1; i < places.length; i++) {
      const place = places[i]!;
      encoder.posting(passages[place]! - passages[places[i - 1]!]!, this.#frequencies[place]!);
    }
    writer.text(this.#names[id]!);
    writer.varint(places.length);
    writer.varint(passages[places[0]!]!);
    writer.varint(this.#frequencies[places[0]!]!);
    writer.varint(passages[places.at(-1)!]!);
    writer.varint(encoder.written.length);
    writer.bytes(encoder.written);
  }
}
