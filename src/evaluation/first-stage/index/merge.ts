import { ByteReader, ByteWriter } from './byte-files.ts';
import { BLOCK_TERMS, type IndexFiles } from './index-files.ts';

/** Reads a sorted run term by term: the head of the current term, then its encoded rest. */
class RunCursor {
  readonly #reader: ByteReader;
  term: string | undefined;
  passages = 0;
  first = 0;
  firstFrequency = 0;
  last = 0;
  restBytes = 0;

  constructor(path: string) {
    this.#reader = new ByteReader(path, 1 << 18);
    this.next();
  }

  next(): void {
    if (this.#reader.ended) {
      this.term = undefined;
      return;
    }
    this.term = this.#reader.text();
    this.passages = this.#reader.varint();
    this.first = this.#reader.varint();
    this.firstFrequency = this.#reader.varint();
    this.last = this.#reader.varint();
    this.restBytes = this.#reader.varint();
  }

  /** Returns the postings after the first; must be called before `next`. */
  rest(): Uint8Array {
    return this.#reader.bytes(this.restBytes);
  }

  close(): void {
    this.#reader.close();
  }
}

interface Merged {
  readonly terms: number;
  readonly postings: number;
}

function leastTerm(cursors: readonly RunCursor[]): string | undefined {
  let least: string | undefined;
  for (const { term } of cursors) if (term !== undefined && (least === undefined || term < least)) least = term;
  return least;
}

/** Writes one term's postings from all runs that have it, in the order of the runs. Returns the term's number of passages. */
function mergeTerm(cursors: readonly RunCursor[], term: string, postings: ByteWriter): number {
  let passages = 0;
  let last = 0;
  for (const cursor of cursors) {
    if (cursor.term !== term) continue;
    passages += cursor.passages;
    postings.varint(2 * (cursor.first - last) + (cursor.firstFrequency === 1 ? 1 : 0));
    if (cursor.firstFrequency !== 1) postings.varint(cursor.firstFrequency);
    postings.bytes(cursor.rest());
    last = cursor.last;
    cursor.next();
  }
  return passages;
}

/** Merges sorted runs, ordered by their passages, into dictionary and postings. */
export function mergeRuns(runs: readonly string[], files: IndexFiles): Merged {
  const cursors = runs.map((path) => new RunCursor(path));
  const writers = {
    terms: new ByteWriter(files.terms),
    blocks: new ByteWriter(files.blocks),
    postings: new ByteWriter(files.postings),
  };
  const merged = { terms: 0, postings: 0 };
  try {
    for (let term = leastTerm(cursors); term !== undefined; term = leastTerm(cursors)) {
      const start = writers.postings.position;
      if (merged.terms++ % BLOCK_TERMS === 0) {
        writers.blocks.text(term);
        writers.blocks.varint(writers.terms.position);
        writers.blocks.varint(start);
      }
      const passages = mergeTerm(cursors, term, writers.postings);
      writers.terms.text(term);
      writers.terms.varint(passages);
      writers.terms.varint(writers.postings.position - start);
      merged.postings += passages;
    }
  } finally {
    for (const cursor of cursors) cursor.close();
    for (const writer of Object.values(writers)) writer.close();
  }
  return merged;
}
