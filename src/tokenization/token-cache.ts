import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { LONGEST_WHOLE } from './piecewise-encoder.ts';

export interface CacheStats {
  readonly hits: number;
  readonly misses: number;
  readonly entries: number;
  readonly bytes: number;
}

/** Bytes of an entry in addition to its ids: key, typed array and list links. */
const OVERHEAD = 320;

/** Token ids of texts by tokenizer and SHA-256 of the text. Evicts the least recently used; limited in bytes. */
export class TokenCache {
  readonly #lru: LRUCache<string, Int32Array> | undefined;
  #hits = 0;
  #misses = 0;

  /** @param maxBytes 0 disables the cache. */
  constructor(maxBytes: number) {
    if (maxBytes > 0)
      this.#lru = new LRUCache({ maxSize: maxBytes, sizeCalculation: (ids) => ids.byteLength + OVERHEAD });
  }

  /** Returns the key of a text; undefined for long ones, because hashing them blocks the event loop and they rarely recur. */
  keyOf(textKey: string, text: string): string | undefined {
    if (this.#lru === undefined || text.length > LONGEST_WHOLE) return undefined;
    return textKey + hash('sha256', text, 'base64url');
  }

  get(key: string | undefined): Int32Array | undefined {
    const ids = key === undefined ? undefined : this.#lru?.get(key);
    if (ids === undefined) this.#misses++;
    else this.#hits++;
    return ids;
  }

  /** Stores a copy of the ids, so that an entry does not keep a larger buffer alive. */
  set(key: string | undefined, ids: Int32Array): void {
    if (key !== undefined) this.#lru?.set(key, ids.slice());
  }

  stats(): CacheStats {
    return {
      hits: this.#hits,
      misses: this.#misses,
      entries: this.#lru?.size ?? 0,
      bytes: this.#lru?.calculatedSize ?? 0,
    };
  }
}
