import { AddedTokens } from './added-tokens.ts';
import type { Definition } from './definition.ts';
import type { TextEncoder } from './encoder.ts';
import { IdBuffer } from './id-buffer.ts';
import type { Normalize } from './normalizers.ts';
import type { PreTokenize } from './pre-tokenizers.ts';

/** Appends the ids of one pre-token. */
export interface ModelEncoder {
  encode(text: string, out: IdBuffer): void;
}

/** The steps of a tokenizer in the library's order: added tokens, normaliser, added tokens again, pre-tokeniser, model. */
export class SectionEncoder implements TextEncoder {
  readonly #added: AddedTokens;
  readonly #normalize: Normalize | null;
  readonly #preTokenize: PreTokenize;
  readonly #model: ModelEncoder;
  readonly #ids = new IdBuffer();

  constructor(definition: Definition, normalize: Normalize | null, preTokenize: PreTokenize, model: ModelEncoder) {
    this.#added = new AddedTokens(definition.addedTokens, normalize);
    this.#normalize = normalize;
    this.#preTokenize = preTokenize;
    this.#model = model;
  }

  encode(text: string): Int32Array<ArrayBuffer> {
    this.#ids.truncate(0);
    for (const [section, raw] of this.#added.splitRaw(text.toWellFormed()).entries()) {
      if (raw.length === 0 || this.#pushAdded(raw)) continue;
      const normalized = this.#normalize === null ? raw : this.#normalize(raw);
      for (const part of this.#added.splitNormalized(normalized))
        if (part.length > 0 && !this.#pushAdded(part)) this.#encodePlain(part, section);
    }
    return this.#ids.take();
  }

  #pushAdded(text: string): boolean {
    const token = this.#added.get(text);
    if (token) this.#ids.push(token.id);
    return token !== undefined;
  }

  #encodePlain(text: string, section: number): void {
    for (const piece of this.#preTokenize(text, section)) if (piece.length > 0) this.#model.encode(piece, this.#ids);
  }
}
