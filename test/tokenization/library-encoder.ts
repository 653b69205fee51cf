import * as tokenizers from '@huggingface/tokenizers';
import { refusal } from '../../src/tokenization/refusal.ts';
import { streamSafe } from '../../src/tokenization/stream-safe.ts';
import type { TokenEncoder } from '../../src/tokenization/token-encoder.ts';
import type { Definition } from '../../src/tokenization/tokenizer-definition.ts';

interface LibraryNormalizer {
  normalize(text: string): string;
}

interface LibraryPreTokenizer {
  pre_tokenize(text: string, options: { readonly section_index: number }): string[];
}

type Normalizer = new (config: object) => LibraryNormalizer;

/**
 * The used part of `@huggingface/tokenizers`, which `AutoTokenizer` of `@huggingface/transformers` runs, without that package's engines and
 * image library. Declared here because the package's declarations import without file extensions, which Node's resolution does not follow.
 */
interface Library {
  readonly Tokenizer: new (
    definition: object,
    config: object,
  ) => {
    encode(text: string, options: { readonly add_special_tokens: boolean }): { readonly ids: readonly number[] };
  };
  readonly SequencePreTokenizer: new (config: object) => LibraryPreTokenizer;
  readonly LowercaseNormalizer: Normalizer;
  readonly PrependNormalizer: Normalizer;
  readonly ReplaceNormalizer: Normalizer;
  readonly StripAccentsNormalizer: Normalizer;
  readonly StripNormalizer: Normalizer;
}

export const library = tokenizers as unknown as Library;

/** Encodes by the library, for definitions that no encoder of this folder supports. */
export class LibraryEncoder implements TokenEncoder {
  readonly #tokenizer: InstanceType<Library['Tokenizer']>;
  readonly #prepare: (text: string) => string;

  /** @throws WinnowError `invalid_manifest` if the library rejects the definition. */
  constructor(definition: Definition, config: Readonly<Record<string, unknown>>) {
    this.#prepare = definition.normalizer === null ? (text) => text : streamSafe;
    try {
      this.#tokenizer = new library.Tokenizer(definition.raw, config);
    } catch (error) {
      throw refusal(definition.file, '(whole file)', 'a definition the tokenizer library accepts', String(error));
    }
  }

  encode(text: string): Int32Array<ArrayBuffer> {
    const { ids } = this.#tokenizer.encode(this.#prepare(text.toWellFormed()), { add_special_tokens: false });
    return Int32Array.from(ids);
  }
}
