import { AddedTokens } from './added-tokens.ts';
import { IdBuffer } from './id-buffer.ts';
import type { Normalize } from './normalizers.ts';
import type { PreTokenize } from './pre-tokenizers.ts';
import type { TokenEncoder } from './token-encoder.ts';
import type { Definition } from './tokenizer-definition.ts';

export interface ModelEncoder {
  /** Appends the ids of one pre-token. */
  encode(text: string, out: IdBuffer): void;
}

/**
 * Limits of the word cache: UTF-16 units of a word, and number of words. Longer words are rare, and V8 keeps a whole text alive for
 * substrings of 13 units or more. Words are never evicted: texts repeat frequent words early, and made-up words can only fill the table.
 */
const CACHED_WORD_UNITS = 12;
const CACHED_WORDS = 1 << 15;

/** Encodes by the Rust library's steps: added tokens, normalizer, added tokens again, pre-tokenizer, model. */
export class SectionEncoder implements TokenEncoder {
  readonly #added: AddedTokens;
  readonly #normalize: Normalize | null;
  readonly #preTokenize: PreTokenize;
  readonly #model: ModelEncoder;
  readonly #ids = new IdBuffer();
  readonly #words = new Map<string, Int32Array>();

  constructor(definition: Definition, normalize: Normalize | null, preTokenize: PreTokenize, model: ModelEncoder) {
    this.#added = new AddedTokens(definition.addedTokens, normalize);
    this.#normalize = normalize;
    this.#preTokenize = preTokenize;
    this.#model = model;
  }

  encode(text: string): Int32Array<ArrayBuffer> {
    this.#ids.truncate(0);
    for (const [i, raw] of this.#added.splitRaw(text.toWellFormed()).entries())
      if (typeof raw === 'number') this.#ids.push(raw);
      else this.#encodeRaw(raw, i === 0);
    return this.#ids.take();
  }

  #encodeRaw(raw: string, isFirst: boolean): void {
    const normalized = this.#normalize === null ? raw : this.#normalize(raw);
    for (const [i, part] of this.#added.splitNormalized(normalized).entries())
      if (typeof part === 'number') this.#ids.push(part);
      else this.#encodePlain(part, isFirst && i === 0);
  }

  #encodePlain(text: string, isFirst: boolean): void {
    for (const word of this.#preTokenize(text, isFirst)) {
      const known = this.#words.get(word);
      if (known) this.#ids.append(known);
      else if (word.length > 0) this.#encodeWord(word);
    }
  }

  #encodeWord(word: string): void {
    const before = this.#ids.length;
    this.#model.encode(word, this.#ids);
    if (word.length <= CACHED_WORD_UNITS && this.#words.size < CACHED_WORDS)
      this.#words.set(word, this.#ids.since(before));
  }
}
