import { WinnowError } from '../errors.ts';
import { type RowTexts, rowTexts } from '../util/text-template.ts';
import type { TokenizerFacts } from './load.ts';
import { Pace } from './pace.ts';
import type { PairTemplate } from './pair-template.ts';
import { assemblePairs, checkPairOptions, enoughFor, joinRequests, type QueryTokens } from './pairs.ts';
import { type Enough, LONGEST_WHOLE } from './piecewise-encoder.ts';
import { dividePrefix, prefixed } from './prefixed-texts.ts';
import type { TokenCache } from './token-cache.ts';
import type {
  EncodedRequest,
  PairOptions,
  TextTokenizer,
  TextTokens,
  TokenizedTexts,
  TokenOptions,
} from './tokenization-types.ts';

/** When texts are tokenized: until the signal aborts, in the turn of a share. */
export interface Turn {
  readonly signal: AbortSignal | undefined;
  readonly share: string | undefined;
}

/** A source of token ids: the calling thread or a pool of threads. */
export interface IdSource {
  /**
   * Returns the ids of every text, in order; of long texts, `enough` of them. Rejects with the signal's reason when aborted.
   */
  tokenize(texts: readonly string[], enough: Enough | undefined, turn: Turn): Promise<readonly Int32Array[]>;
  /** Returns the texts of tokens. */
  spell(ids: Int32Array): Promise<readonly string[]>;
  close(): Promise<void>;
}

/* Work between two turns of the event loop, about 1 ms each: UTF-16 units hashed, texts cached, passages assembled. */
const HASHED_UNITS_A_TURN = 1 << 18;
const CACHED_TEXTS_A_TURN = 256;
const PASSAGES_A_TURN = 256;

/** The query of rows that have none. */
const NO_IDS = new Int32Array(0);

/** A text without cached ids, and its indexes in the request. */
interface Missing {
  readonly text: string;
  readonly key: string | undefined;
  readonly indexes: number[];
}

/** Ids of the texts of a template. */
type FixedIds = Readonly<Record<'prefix' | 'before' | 'middle' | 'after' | 'suffix', Int32Array>>;

/** Turns texts into rows with any source of ids: looks ids up in the cache, tokenizes the other texts, assembles the rows. */
export class CachedPairTokenizer implements TextTokenizer {
  readonly folder: string;
  readonly padId: number;
  readonly pairKey: string;
  readonly #facts: TokenizerFacts;
  readonly #source: IdSource;
  readonly #cache: TokenCache;
  #fixed: { readonly key: string; readonly ids: FixedIds } | undefined;
  #active = 0;
  #released = false;
  #closed: PromiseWithResolvers<void> | undefined;

  constructor(facts: TokenizerFacts, source: IdSource, cache: TokenCache) {
    this.folder = facts.folder;
    this.padId = facts.padId;
    this.pairKey = `${facts.textKey} ${JSON.stringify([facts.template, facts.texts])}`;
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
    return this.#whileOpen(signal, async () => {
      const { texts, template } = this.#facts;
      const turn = { signal, share: options.share };
      if (texts) return this.#encodeTexts(rowTexts(texts, query, options.instruction), passages, options, turn);
      checkPairOptions(options, template);
      const { queryIds, passageIds } = await this.#pairIds(query, passages, enoughFor(options), turn);
      return this.#assemble({ ids: queryIds, template }, passageIds, options, turn);
    });
  }

  async encodeTexts(texts: readonly string[], options: PairOptions, signal?: AbortSignal): Promise<EncodedRequest> {
    return this.#whileOpen(signal, async () => {
      const { prefix, suffix } = this.#facts.template;
      const template = { prefix, middle: [], suffix, secondType: 0 as const };
      const turn = { signal, share: options.share };
      if (options.prefix) return this.#encodePrefixed(texts, options.prefix, template, options, turn);
      checkPairOptions(options, template);
      const ids = await this.#idsOf(texts, enoughFor(options), turn);
      return this.#assemble({ ids: NO_IDS, template }, ids, options, turn);
    });
  }

  /** Encodes texts behind a prefix that is not cut. */
  async #encodePrefixed(
    texts: readonly string[],
    text: string,
    template: PairTemplate,
    options: PairOptions,
    turn: Turn,
  ): Promise<EncodedRequest> {
    const [ids] = await this.#idsOf([text], undefined, turn);
    const prefix = { text, ids: ids! };
    checkPairOptions(options, { ...template, prefix: [...template.prefix, ...prefix.ids] });
    const whole = texts.map((one) => prefixed(one, text, options));
    const found = await this.#idsOf(whole, enoughFor(options), turn);
    const parts: EncodedRequest[] = [];
    for (const part of dividePrefix(texts, found, prefix, template, options))
      parts.push(await this.#assemble({ ids: NO_IDS, template: part.template }, part.ids, part.options, turn));
    return joinRequests(parts, texts.length);
  }

  async tokens(texts: readonly string[], options: TokenOptions, signal?: AbortSignal): Promise<TokenizedTexts> {
    return this.#whileOpen(signal, async () => {
      const { atMost, special } = options;
      const found = await this.#idsOf(texts, { tokens: atMost + 1, from: 'start' }, { signal, share: undefined });
      const count = found.reduce((sum, { length }) => sum + length, 0);
      if (count > atMost)
        throw new WinnowError('invalid_field', {
          expected: `at most ${atMost} tokens in all texts together`,
          got: 'more',
          field: 'texts',
        });
      const { prefix, suffix } = special ? this.#facts.template : { prefix: [], suffix: [] };
      const distinct = Int32Array.from(new Set(found.flatMap((ids) => [...ids]).concat(prefix, suffix)));
      const spelled = await this.#source.spell(distinct);
      return {
        texts: found.map((ids) => textTokens(prefix, ids, suffix)),
        spelling: new Map(Array.from(distinct, (id, i) => [id, spelled[i]!])),
      };
    });
  }

  /** Runs the work of a request, which keeps the source of ids open until it has ended. */
  async #whileOpen<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new WinnowError('shutting_down');
    signal?.throwIfAborted();
    this.#active++;
    try {
      return await work();
    } finally {
      this.#active--;
      this.#releaseIfDone();
    }
  }

  /** Refuses new requests; resolves when the running ones are finished. */
  close(): Promise<void> {
    this.#closed ??= Promise.withResolvers();
    this.#releaseIfDone();
    return this.#closed.promise;
  }

  #releaseIfDone(): void {
    if (!this.#closed || this.#active > 0 || this.#released) return;
    this.#released = true;
    this.#source.close().then(this.#closed.resolve, this.#closed.reject);
  }

  /** Returns the ids of both sides. The query is read to its end, because the answer says how many of its tokens are left out. */
  async #pairIds(
    query: string,
    passages: readonly string[],
    enough: Enough | undefined,
    turn: Turn,
  ): Promise<{ readonly queryIds: Int32Array; readonly passageIds: readonly Int32Array[] }> {
    if (enough && query.length > LONGEST_WHOLE) {
      const [[queryIds], passageIds] = await Promise.all([
        this.#idsOf([query], undefined, turn),
        this.#idsOf(passages, enough, turn),
      ]);
      return { queryIds: queryIds!, passageIds };
    }
    const [queryIds, ...passageIds] = await this.#idsOf([query, ...passages], enough, turn);
    return { queryIds: queryIds!, passageIds };
  }

  /** Encodes the rows of a template of texts. What does not depend on the passage is tokenized once. */
  async #encodeTexts(
    texts: RowTexts,
    passages: readonly string[],
    options: PairOptions,
    turn: Turn,
  ): Promise<EncodedRequest> {
    const { prefix, before, middle, after, suffix } = await this.#fixedIds(texts, turn);
    const [queryIds, wholeIds] = await this.#idsOf(
      [texts.query, texts.before + texts.query + texts.middle],
      undefined,
      turn,
    );
    const end = { suffix: [...after, ...suffix], secondType: 0 as const };
    const template = { prefix: [...prefix, ...before], middle: [...middle], ...end };
    checkPairOptions(options, template);
    const whole = { ids: wholeIds!, template: { prefix: [...prefix], middle: [], ...end } };
    const read = texts.space === '' ? passages : passages.map((passage) => texts.space + passage);
    const passageIds = await this.#idsOf(read, enoughFor(options), turn);
    return this.#assemble({ ids: queryIds!, template }, passageIds, options, turn, whole);
  }

  /** Returns the ids of the texts that stand in every row; those of the last request are kept. */
  async #fixedIds({ prefix, before, middle, after, suffix }: RowTexts, turn: Turn): Promise<FixedIds> {
    const texts = [prefix, before, middle, after, suffix];
    const key = JSON.stringify(texts);
    if (this.#fixed?.key === key) return this.#fixed.ids;
    const [first, second, third, fourth, fifth] = await this.#idsOf(texts, undefined, turn);
    const ids = { prefix: first!, before: second!, middle: third!, after: fourth!, suffix: fifth! };
    this.#fixed = { key, ids };
    return ids;
  }

  async #idsOf(texts: readonly string[], enough: Enough | undefined, turn: Turn): Promise<Int32Array[]> {
    const ids: Int32Array[] = new Array(texts.length);
    const missing = await this.#lookUp(texts, ids, turn.signal);
    if (missing.length === 0) return ids;
    const found = await this.#source.tokenize(
      missing.map(({ text }) => text),
      enough,
      turn,
    );
    const pace = new Pace(CACHED_TEXTS_A_TURN, turn.signal);
    for (const [i, { key, indexes }] of missing.entries()) {
      this.#cache.set(key, found[i]!);
      for (const index of indexes) ids[index] = found[i]!;
      const pause = pace.spend(1);
      if (pause) await pause;
    }
    return ids;
  }

  /** Fills in the cached ids; returns the other texts, each once. */
  async #lookUp(texts: readonly string[], ids: Int32Array[], signal: AbortSignal | undefined): Promise<Missing[]> {
    const missing = new Map<string, Missing>();
    const pace = new Pace(HASHED_UNITS_A_TURN, signal);
    for (const [i, text] of texts.entries()) {
      const key = this.#cache.keyOf(this.#facts.textKey, text);
      const known = this.#cache.get(key);
      const waiting = missing.get(key ?? text);
      if (known) ids[i] = known;
      else if (waiting) waiting.indexes.push(i);
      else missing.set(key ?? text, { text, key, indexes: [i] });
      const pause = pace.spend(text.length);
      if (pause) await pause;
    }
    return [...missing.values()];
  }

  async #assemble(
    { ids, template }: QueryTokens,
    passages: readonly Int32Array[],
    options: PairOptions,
    { signal }: Turn,
    whole?: QueryTokens,
  ): Promise<EncodedRequest> {
    const parts: EncodedRequest[] = [];
    const pace = new Pace(0, signal);
    for (let i = 0; i === 0 || i < passages.length; i += PASSAGES_A_TURN) {
      parts.push(assemblePairs(ids, passages.slice(i, i + PASSAGES_A_TURN), template, options, whole));
      if (i + PASSAGES_A_TURN < passages.length) await pace.spend(1);
    }
    return joinRequests(parts, passages.length);
  }
}

/** Puts special tokens around the ids of a text. */
function textTokens(prefix: readonly number[], ids: Int32Array, suffix: readonly number[]): TextTokens {
  const whole = new Int32Array(prefix.length + ids.length + suffix.length);
  whole.set(prefix);
  whole.set(ids, prefix.length);
  whole.set(suffix, prefix.length + ids.length);
  return { ids: whole, before: prefix.length, after: suffix.length };
}
