import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';

export interface CacheStats {
  readonly hits: number;
  readonly misses: number;
  readonly entries: number;
  readonly bytes: number;
}

/** What an entry costs besides its ids: key, typed array and the list around it, in bytes. */
const OVERHEAD = 320;
/** Longer texts (in UTF-16 units) are not kept: hashing them costs the event loop more than they are likely to give back. */
const LONGEST_TEXT = 1 << 16;

/** Token ids of texts seen before, by SHA-256 of tokenizer and content; least recently used first out, bounded in bytes. */
export class TokenCache {
  readonly #lru: LRUCache<string, Int32Array> | undefined;
  #hits = 0;
  #misses = 0;

  /** @param maxBytes 0 turns the cache off. */
  constructor(maxBytes: number) {
    if (maxBytes > 0)
      this.#lru = new LRUCache({ maxSize: maxBytes, sizeCalculation: (ids) => ids.byteLength + OVERHEAD });
  }

  /** The key of a text, or undefined where it is not to be cached. */
  keyOf(textKey: string, text: string): string | undefined {
    if (this.#lru === undefined || text.length > LONGEST_TEXT) return undefined;
    return textKey + hash('sha256', text, 'base64url');
  }

  get(key: string | undefined): Int32Array | undefined {
    const ids = key === undefined ? undefined : this.#lru?.get(key);
    if (ids === undefined) this.#misses++;
    else this.#hits++;
    return ids;
  }

  /** Keeps a copy, so that an entry never holds on to a larger buffer. */
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
