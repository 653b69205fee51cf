import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { LRUCache } from 'lru-cache';
import { describe, WinnowError } from '../../../errors.ts';
import { parseJson } from '../../../util/parse-json.ts';
import { analyze } from '../analyzer.ts';
import { ANSERINI, type Bm25Params, idf, lengthNorm } from '../bm25.ts';
import { TopK } from '../top-k.ts';
import { Accumulator } from './accumulator.ts';
import { readWhole } from './byte-files.ts';
import { Dictionary } from './dictionary.ts';
import { filesOf, INDEX_FORMAT, type IndexFacts, type IndexFiles } from './index-files.ts';

/** Passages found, best first. */
interface Found {
  readonly docids: string[];
  readonly scores: Float64Array;
}

interface OpenOptions {
  /** Memory for the postings of recent terms. */
  readonly cacheBytes?: number;
}

function readFacts(folder: string): IndexFacts {
  const files = filesOf(folder);
  const fail = (where: string, expected: string, got: string): never => {
    throw new WinnowError('invalid_input', { where, expected, got });
  };
  let facts: IndexFacts;
  try {
    facts = parseJson(readFileSync(files.facts, 'utf8')) as IndexFacts;
  } catch (error) {
    return fail(folder, 'a BM25 index (`npx winnow index`)', (error as Error).message);
  }
  if (facts.format !== INDEX_FORMAT) fail(files.facts, `index format ${INDEX_FORMAT}`, describe(facts.format));
  for (const [name, bytes] of Object.entries(facts.bytes)) {
    const path = files[name as keyof IndexFiles];
    const size = statSync(path, { throwIfNoEntry: false })?.size;
    if (size !== bytes) fail(path, `${bytes} bytes`, size === undefined ? 'no file' : `${size}`);
  }
  return facts;
}

/** Holds the ids of all passages in one buffer, with the start of each. */
class Ids {
  readonly #bytes: Buffer;
  readonly #starts: Uint32Array | Float64Array;

  constructor(path: string, count: number) {
    this.#bytes = readWhole(path);
    this.#starts = this.#bytes.length < 2 ** 32 ? new Uint32Array(count + 1) : new Float64Array(count + 1);
    let at = 0;
    for (let i = 0; i < count; i++) {
      this.#starts[i] = at;
      at += this.#head(at).end;
    }
    this.#starts[count] = at;
  }

  get(passage: number): string {
    const start = this.#starts[passage]!;
    return this.#bytes.toString('utf8', start + this.#head(start).bytes, this.#starts[passage + 1]);
  }

  /** Returns the bytes of the length prefix, and the bytes to the next id. */
  #head(at: number): { bytes: number; end: number } {
    let length = 0;
    for (let bytes = 0; ; bytes++) {
      const byte = this.#bytes[at + bytes]!;
      length += (byte & 127) * 128 ** bytes;
      if (byte < 128) return { bytes: bytes + 1, end: bytes + 1 + length };
    }
  }
}

/**
 * Searches a BM25 index on disk. Memory holds each passage's id and 20 bytes more; postings are read on demand. All postings of the query's
 * terms are scored, so the best `depth` passages are exact.
 */
export class Bm25Index {
  readonly facts: IndexFacts;
  readonly #files: { readonly terms: number; readonly postings: number };
  readonly #dictionary: Dictionary;
  readonly #ids: Ids;
  readonly #lengths: Uint32Array;
  readonly #accumulator: Accumulator;
  readonly #cache: LRUCache<string, Uint8Array>;
  #norms: { readonly key: string; readonly values: Float64Array } | undefined;

  /** @throws WinnowError `invalid_input` if the folder is not an index or the size of a file differs from the one recorded. */
  constructor(folder: string, { cacheBytes = 64 * 2 ** 20 }: OpenOptions = {}) {
    this.facts = readFacts(folder);
    const files = filesOf(folder);
    const { passages, bytes } = this.facts;
    this.#files = { terms: openSync(files.terms, 'r'), postings: openSync(files.postings, 'r') };
    this.#dictionary = new Dictionary(files, this.#files.terms, bytes.terms);
    this.#ids = new Ids(files.ids, passages);
    this.#lengths = new Uint32Array(readWhole(files.lengths).buffer);
    this.#accumulator = new Accumulator(passages);
    this.#cache = new LRUCache({ maxSize: cacheBytes, sizeCalculation: (postings) => postings.length + 1 });
  }

  /** Returns the best `depth` passages for a query. A term counts as often as the query repeats it. */
  search(query: string, depth: number, params: Bm25Params = ANSERINI): Found {
    const norms = this.#normsFor(params);
    const counts = new Map<string, number>();
    for (const term of analyze(query)) counts.set(term, (counts.get(term) ?? 0) + 1);
    for (const [term, count] of counts) {
      const entry = this.#dictionary.find(term);
      if (entry === undefined) continue;
      const weight = count * idf(this.facts.withTerms, entry.passages);
      this.#accumulator.addTerm(this.#postings(term, entry), weight, norms);
    }
    const best = new TopK(Math.min(depth, this.facts.passages));
    this.#accumulator.drain((passage, score) => best.add(passage, score));
    const { passages, scores } = best.drain();
    return { docids: Array.from(passages, (passage) => this.#ids.get(passage)), scores };
  }

  close(): void {
    closeSync(this.#files.terms);
    closeSync(this.#files.postings);
  }

  #postings(term: string, { offset, bytes }: { offset: number; bytes: number }): Uint8Array {
    const known = this.#cache.get(term);
    if (known !== undefined) return known;
    const postings = new Uint8Array(bytes);
    readSync(this.#files.postings, postings, 0, bytes, offset);
    this.#cache.set(term, postings);
    return postings;
  }

  #normsFor(params: Bm25Params): Float64Array {
    const key = `${params.k1} ${params.b} ${params.lengths}`;
    if (this.#norms?.key !== key) {
      const average = this.facts.tokens / this.facts.withTerms;
      const byLength = new Map<number, number>();
      const values = Float64Array.from(this.#lengths, (length) => {
        const norm = byLength.get(length) ?? lengthNorm(length, average, params);
        byLength.set(length, norm);
        return norm;
      });
      this.#norms = { key, values };
    }
    return this.#norms.values;
  }
}
