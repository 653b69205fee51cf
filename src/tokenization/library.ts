import { Tokenizer } from '@huggingface/tokenizers';
import { type Definition, refusal } from './definition.ts';
import type { TextEncoder } from './encoder.ts';

/**
 * The tokenizer of record: `@huggingface/tokenizers`, which is what `AutoTokenizer` of `@huggingface/transformers` runs, without that
 * package's engines and image library.
 */
export class LibraryEncoder implements TextEncoder {
  readonly #tokenizer: Tokenizer;

  /** @throws WinnowError `invalid_manifest` where the library refuses the definition. */
  constructor(definition: Definition, config: Readonly<Record<string, unknown>>) {
    try {
      this.#tokenizer = new Tokenizer(definition.raw, config);
    } catch (error) {
      throw refusal(definition.file, '(whole file)', 'a definition the tokenizer library accepts', String(error));
    }
  }

  encode(text: string): Int32Array<ArrayBuffer> {
    const { ids } = this.#tokenizer.encode(text.toWellFormed(), { add_special_tokens: false });
    return Int32Array.from(ids);
  }
}
