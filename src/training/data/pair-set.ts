import { comparable, textHash } from './survey/text-hash.ts';

/** Hashes are spread over sets, since one holds at most 2^24. */
const PARTS = 64;

/** Returns a hash of a pair of texts, as they are written. */
export const pairKey = (query: string, passage: string): number => textHash(`${query}\0${passage}`);

/** Returns a hash of a query and the id of a passage; no text starts like an id. */
const idKey = (query: string, docid: string): number => pairKey(comparable(query), `\0${docid}`);

/** Pairs of query and passage that are known not to be negatives, by text (upper and lower case and white space apart) and by id. */
export class PairSet {
  readonly #parts = Array.from({ length: PARTS }, () => new Set<number>());

  #add(key: number): void {
    this.#parts[key % PARTS]!.add(key);
  }

  #has(key: number): boolean {
    return this.#parts[key % PARTS]!.has(key);
  }

  add(query: string, passage: string): void {
    this.#add(pairKey(comparable(query), comparable(passage)));
  }

  addId(query: string, docid: string): void {
    this.#add(idKey(query, docid));
  }

  /** Adds hashes that `pairKey` returned. */
  addKeys(keys: Iterable<number>): void {
    for (const key of keys) this.#add(key);
  }

  has(query: string, passage: string, docid?: string): boolean {
    return (
      this.#has(pairKey(comparable(query), comparable(passage))) ||
      this.#has(pairKey(query, passage)) ||
      (docid !== undefined && this.#has(idKey(query, docid)))
    );
  }
}
