import { AddedTokens } from './added-tokens.ts';
import { type BertNormalizerOptions, bertNormalize, bertNormalizerOptions } from './bert-normalizer.ts';
import { IdBuffer } from './id-buffer.ts';
import type { TokenEncoder } from './token-encoder.ts';
import type { Definition, WordPieceModel } from './tokenizer-definition.ts';
import { UnitTrie } from './trie.ts';

const DROP = 0;
const BLANK = 1;
const PUNCTUATION = 2;
const LETTER = 3;

/** Returns for each ASCII character what normalizer and pre-tokenizer do with it. */
function asciiClasses(cleanText: boolean): Uint8Array {
  return Uint8Array.from({ length: 128 }, (_, unit) => {
    if (unit === 9 || unit === 10 || unit === 13 || unit === 32) return BLANK;
    if (unit < 32 || unit === 127) return cleanText ? DROP : unit === 11 || unit === 12 ? BLANK : LETTER;
    return /[!-/:-@[-`{-~]/.test(String.fromCharCode(unit)) ? PUNCTUATION : LETTER;
  });
}

function asciiFolding(lowercase: boolean): Uint8Array {
  return Uint8Array.from({ length: 128 }, (_, unit) => (lowercase && unit >= 65 && unit <= 90 ? unit + 32 : unit));
}

/** Words and single punctuation marks, as in the library's BertPreTokenizer. */
const WORD = /[^\s\p{P}\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e]+|[\p{P}\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e]/gu;

/**
 * BERT's tokenizer (Devlin et al. 2019): normalizes, splits at blanks and punctuation, then takes the longest matching piece from the left.
 * Gives the ids of `@huggingface/tokenizers` for every text. ASCII text is encoded in one pass without creating strings; other text goes
 * through the same normalizer steps as in the library.
 */
export class WordPieceEncoder implements TokenEncoder {
  readonly #options: BertNormalizerOptions;
  readonly #added: AddedTokens;
  readonly #classes: Uint8Array;
  readonly #folding: Uint8Array;
  readonly #trie: UnitTrie;
  /** The node of the prefix of pieces that continue a word, or -1. */
  readonly #continuation: number;
  readonly #unkId: number;
  readonly #maxUnits: number;
  readonly #maxWordLength: number;
  readonly #word: Uint16Array;
  readonly #ids = new IdBuffer();

  constructor(model: WordPieceModel, definition: Definition, options: BertNormalizerOptions) {
    this.#options = options;
    this.#added = new AddedTokens(definition.addedTokens, (text) => bertNormalize(text, options));
    this.#classes = asciiClasses(options.cleanText);
    this.#folding = asciiFolding(options.lowercase);
    this.#trie = new UnitTrie(model.vocab.size * 4);
    for (const [token, id] of model.vocab) this.#trie.insert(token, id);
    for (const { content, id } of definition.addedTokens) this.#trie.insert(content, id);
    this.#continuation = this.#trie.find(model.prefix);
    this.#unkId =
      definition.addedTokens.find((t) => t.content === model.unkToken)?.id ?? model.vocab.get(model.unkToken)!;
    this.#maxWordLength = model.maxWordLength;
    // A code point has at most two units; one unit more shows that a word is too long.
    this.#maxUnits = model.maxWordLength * 2 + 1;
    this.#word = new Uint16Array(this.#maxUnits);
  }

  encode(text: string): Int32Array<ArrayBuffer> {
    this.#ids.truncate(0);
    if (this.#added.occursIn(text)) this.#encodeSections(text.toWellFormed());
    else this.#encodePlain(text);
    return this.#ids.take();
  }

  #encodeSections(text: string): void {
    for (const section of this.#added.splitRaw(text)) {
      const token = this.#added.get(section);
      if (token) this.#ids.push(token.id);
      else this.#encodePlain(section);
    }
  }

  #encodePlain(text: string): void {
    const before = this.#ids.length;
    if (this.#encodeAscii(text)) return;
    this.#ids.truncate(before);
    for (const word of bertNormalize(text.toWellFormed(), this.#options).match(WORD) ?? []) this.#encodeWord(word);
  }

  /** Encodes ASCII text. Returns false at the first other character; the caller then drops the ids pushed so far. */
  #encodeAscii(text: string): boolean {
    const [classes, folding, word, maxUnits] = [this.#classes, this.#folding, this.#word, this.#maxUnits];
    let length = 0;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      if (unit > 127) return false;
      const kind = classes[unit]!;
      if (kind === LETTER) {
        if (length < maxUnits) word[length++] = folding[unit]!;
      } else if (kind !== DROP) {
        if (length > 0) this.#match(length, length);
        length = 0;
        if (kind === PUNCTUATION) {
          word[0] = unit;
          this.#match(1, 1);
        }
      }
    }
    if (length > 0) this.#match(length, length);
    return true;
  }

  #encodeWord(word: string): void {
    const units = Math.min(word.length, this.#maxUnits);
    let points = 0;
    for (let i = 0; i < units; i++) {
      const unit = word.charCodeAt(i);
      this.#word[i] = unit;
      // The second half of a surrogate pair belongs to the code point already counted.
      if ((unit & 0xfc00) !== 0xdc00) points++;
    }
    this.#match(units, points);
  }

  /** Pushes the pieces of the first `length` units of the word buffer, or the unknown token for the whole word. */
  #match(length: number, points: number): void {
    const before = this.#ids.length;
    let start = points > this.#maxWordLength ? -1 : 0;
    while (start >= 0 && start < length) start = this.#matchPiece(start, length);
    if (start >= 0) return;
    this.#ids.truncate(before);
    this.#ids.push(this.#unkId);
  }

  /** Pushes the longest piece that starts at `start`. Returns its end, or -1 if no piece matches. */
  #matchPiece(start: number, length: number): number {
    const [trie, word] = [this.#trie, this.#word];
    let node = start === 0 ? 0 : this.#continuation;
    let end = -1;
    let id = -1;
    for (let i = start; node >= 0 && i < length; i++) {
      node = trie.child(node, word[i]!);
      if (node >= 0 && trie.value(node) >= 0) {
        id = trie.value(node);
        end = i + 1;
      }
    }
    if (end >= 0) this.#ids.push(id);
    return end;
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
