import type { IdBuffer } from './id-buffer.ts';
import type { ModelEncoder } from './section-encoder.ts';
import type { WordPieceModel } from './tokenizer-definition.ts';
import { UnitTrie } from './trie.ts';

/**
 * WordPiece (Devlin et al. 2019): takes the longest matching piece of a word from the left; a word that has none becomes the unknown token
 * as a whole.
 */
export class WordPieceModelEncoder implements ModelEncoder {
  /** Room for the UTF-16 units of a word that the caller writes by itself, before `match`. */
  readonly word: Uint16Array;
  readonly #trie: UnitTrie;
  /** The node of the prefix of pieces that continue a word, or -1. */
  readonly #continuation: number;
  readonly #unkId: number;
  readonly #maxWordLength: number;

  constructor(model: WordPieceModel) {
    this.#trie = new UnitTrie(model.vocab.size * 4);
    for (const [token, id] of model.vocab) this.#trie.insert(token, id);
    this.#continuation = this.#trie.find(model.prefix);
    this.#unkId = model.vocab.get(model.unkToken)!;
    this.#maxWordLength = model.maxWordLength;
    // A code point has at most two units; one unit more shows that a word is too long.
    this.word = new Uint16Array(model.maxWordLength * 2 + 1);
  }

  /** Appends the ids of one word (well-formed text). */
  encode(text: string, out: IdBuffer): void {
    const units = Math.min(text.length, this.word.length);
    let points = 0;
    for (let i = 0; i < units; i++) {
      const unit = text.charCodeAt(i);
      this.word[i] = unit;
      // The second half of a surrogate pair belongs to the code point already counted.
      if ((unit & 0xfc00) !== 0xdc00) points++;
    }
    this.match(units, points, out);
  }

  /** Appends the pieces of the first `length` units of `word`, which are `points` code points. */
  match(length: number, points: number, out: IdBuffer): void {
    const before = out.length;
    let start = points > this.#maxWordLength ? -1 : 0;
    while (start >= 0 && start < length) start = this.#matchPiece(start, length, out);
    if (start >= 0) return;
    out.truncate(before);
    out.push(this.#unkId);
  }

  /** Appends the longest piece that starts at `start`. Returns its end, or -1 if no piece matches. */
  #matchPiece(start: number, length: number, out: IdBuffer): number {
    const [trie, word] = [this.#trie, this.word];
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
    if (end >= 0) out.push(id);
    return end;
  }
}
