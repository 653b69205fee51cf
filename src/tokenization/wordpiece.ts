import { AddedTokens } from './added-tokens.ts';
import { type BertNormalizerOptions, bertNormalize, bertNormalizerOptions } from './bert-normalizer.ts';
import { IdBuffer } from './id-buffer.ts';
import { BERT_WORDS } from './pre-tokenizers.ts';
import type { TokenEncoder } from './token-encoder.ts';
import type { Definition, WordPieceModel } from './tokenizer-definition.ts';
import { WordPieceModelEncoder } from './wordpiece-model.ts';

const DROP = 0;
const BLANK = 1;
const MARK = 2;
const LETTER = 3;

/** Returns for each ASCII character what normalizer and pre-tokenizer do with it. */
function asciiClasses(cleanText: boolean): Uint8Array {
  return Uint8Array.from({ length: 128 }, (_, unit) => {
    if (unit === 9 || unit === 10 || unit === 13 || unit === 32) return BLANK;
    if (unit < 32 || unit === 127) return cleanText ? DROP : unit === 11 || unit === 12 ? BLANK : LETTER;
    return /[!-/:-@[-`{-~]/.test(String.fromCharCode(unit)) ? MARK : LETTER;
  });
}

function asciiFolding(lowercase: boolean): Uint8Array {
  return Uint8Array.from({ length: 128 }, (_, unit) => (lowercase && unit >= 65 && unit <= 90 ? unit + 32 : unit));
}

/**
 * BERT's tokenizer: normalizes, splits at blanks and punctuation, then matches pieces. ASCII text is encoded in one pass without creating
 * strings; other text goes through the normalizer step by step.
 */
export class WordPieceEncoder implements TokenEncoder {
  readonly #options: BertNormalizerOptions;
  readonly #added: AddedTokens;
  readonly #classes: Uint8Array;
  readonly #folding: Uint8Array;
  readonly #model: WordPieceModelEncoder;
  readonly #ids = new IdBuffer();

  constructor(model: WordPieceModel, definition: Definition, options: BertNormalizerOptions) {
    this.#options = options;
    this.#added = new AddedTokens(definition.addedTokens, null);
    this.#classes = asciiClasses(options.cleanText);
    this.#folding = asciiFolding(options.lowercase);
    this.#model = new WordPieceModelEncoder(model);
  }

  encode(text: string): Int32Array<ArrayBuffer> {
    this.#ids.truncate(0);
    if (!this.#added.occursIn(text)) this.#encodePlain(text);
    else
      for (const part of this.#added.splitRaw(text.toWellFormed()))
        if (typeof part === 'number') this.#ids.push(part);
        else this.#encodePlain(part);
    return this.#ids.take();
  }

  #encodePlain(text: string): void {
    const before = this.#ids.length;
    if (this.#encodeAscii(text)) return;
    this.#ids.truncate(before);
    for (const word of bertNormalize(text.toWellFormed(), this.#options).match(BERT_WORDS) ?? [])
      this.#model.encode(word, this.#ids);
  }

  /** Encodes ASCII text. Returns false at the first other character; the caller then drops the ids pushed so far. */
  #encodeAscii(text: string): boolean {
    const [classes, folding, { word }] = [this.#classes, this.#folding, this.#model];
    let length = 0;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      if (unit > 127) return false;
      const kind = classes[unit]!;
      if (kind === LETTER) {
        if (length < word.length) word[length++] = folding[unit]!;
      } else if (kind !== DROP) {
        if (length > 0) this.#model.match(length, length, this.#ids);
        length = 0;
        if (kind === MARK) {
          word[0] = unit;
          this.#model.match(1, 1, this.#ids);
        }
      }
    }
    if (length > 0) this.#model.match(length, length, this.#ids);
    return true;
  }
}

/**
 * Creates an encoder for WordPiece with BERT's normalizer and pre-tokenizer and with added tokens in raw text only; undefined for other
 * definitions.
 */
export function wordPieceEncoder(definition: Definition): WordPieceEncoder | undefined {
  const { model, normalizer, preTokenizer, addedTokens } = definition;
  if (model.type !== 'WordPiece' || normalizer?.type !== 'BertNormalizer' || preTokenizer?.type !== 'BertPreTokenizer')
    return undefined;
  if (addedTokens.some((t) => t.normalized ?? !t.special)) return undefined;
  return new WordPieceEncoder(model, definition, bertNormalizerOptions(normalizer, definition.file));
}
