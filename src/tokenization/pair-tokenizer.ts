import { setImmediate } from 'node:timers/promises';
import { WinnowError } from '../errors.ts';
import type { TokenCache } from './cache.ts';
import type { TokenizerFacts } from './load.ts';
import { assemblePairs, checkPairOptions, joinRequests } from './pairs.ts';
import type { EncodedRequest, PairOptions, PairTokenizer } from './types.ts';

/** Where ids come from: the same thread or a pool of them. */
export interface IdSource {
  /** Ids of every text, in order. Rejects with the signal's reason when aborted. */
  tokenize(texts: readonly string[], signal?: AbortSignal): Promise<readonly Int32Array[]>;
  close(): Promise<void>;
}

/** UTF-16 units hashed, and passages assembled, before others get their turn on the event loop: 1–2 ms of work each. */
const HASHED_AT_ONCE = 1 << 19;
const ASSEMBLED_AT_ONCE = 512;

/** The one path from texts to rows, whatever the source of ids: look up, tokenise what is new, assemble. */
export class CachedPairTokenizer implements PairTokenizer {
  readonly folder: string;
  readonly padId: number;
  readonly #facts: TokenizerFacts;
  readonly #source: IdSource;
  readonly #cache: TokenCache;
  #active = 0;
  #closed: PromiseWithResolvers<void> | undefined;

  constructor(facts: TokenizerFacts, source: IdSource, cache: TokenCache) {
    this.folder = facts.folder;
    this.padId = facts.padId;
    this.#facts = facts;
    this.#source = source;
    this.#cache = cache;
  }

  async encode(
    query: string,
    passages: readonly string[],
    options: PairOptions,
    signal?: AbortSignal,
  ): Promise<EncodedRequest> {
    if (this.#closed) throw new WinnowError('shutting_down');
    checkPairOptions(options, this.#facts.template);
    signal?.throwIfAborted();
    this.#active++;
    try {
      const [queryIds, ...passageIds] = await this.#idsOf([query, ...passages], signal);
      return await this.#assemble(queryIds!, passageIds, options, signal);
    } finally {
      this.#active--;
      this.#releaseIfDone();
    }
  }

  /** Refuses new requests at once; resolves when those under way are done. */
  close(): Promise<void> {
    this.#closed ??= Promise.withResolvers();
    this.#releaseIfDone();
    return this.#closed.promise;
  }

  #releaseIfDone(): void {
    if (this.#closed && this.#active === 0) this.#source.close().then(this.#closed.resolve, this.#closed.reject);
  }

  async #idsOf(texts: readonly string[], signal: AbortSignal | undefined): Promise<Int32Array[]> {
    const ids: Int32Array[] = new Array(texts.length);
    /** Texts to tokenise, each once, with the places that wait for it. */
    const missing = new Map<string, { readonly key: string | undefined; readonly places: number[] }>();
    let hashed = 0;
    for (const [i, text] of texts.entries()) {
      hashed += text.length;
      if (hashed > HASHED_AT_ONCE) {
        hashed = 0;
        await setImmediate();
        signal?.throwIfAborted();
      }
      const key = this.#cache.keyOf(this.#facts.textKey, text);
      const known = this.#cache.get(key);
      if (known) ids[i] = known;
      else {
        const waiting = missing.get(text);
        if (waiting) waiting.places.push(i);
        else missing.set(text, { key, places: [i] });
      }
    }
    if (missing.size > 0) {
      const found = await this.#source.tokenize([...missing.keys()], signal);
      let i = 0;
      for (const { key, places } of missing.values()) {
        this.#cache.set(key, found[i]!);
        for (const place of places) ids[place] = found[i]!;
        i++;
      }
    }
    return ids;
  }

  async #assemble(
    queryIds: Int32Array,
    passages: readonly Int32Array[],
    options: PairOptions,
    signal: AbortSignal | undefined,
  ): Promise<EncodedRequest> {
    const parts: EncodedRequest[] = [];
    for (let i = 0; i === 0 || i < passages.length; i += ASSEMBLED_AT_ONCE) {
      if (i > 0) {
        await setImmediate();
        signal?.throwIfAborted();
      }
      parts.push(assemblePairs(queryIds, passages.slice(i, i + ASSEMBLED_AT_ONCE), this.#facts.template, options));
    }
    return joinRequests(parts, passages.length);
  }
}
