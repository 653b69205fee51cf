import { byteToken } from './byte-characters.ts';
import type { IdBuffer } from './id-buffer.ts';
import type { ModelEncoder } from './section-encoder.ts';
import { idsInVocabulary, type UnigramModel } from './tokenizer-definition.ts';
import { UnitTrie } from './trie.ts';

/** How much less likely, in log probability, an unknown character is than the least likely piece (SentencePiece's constant). */
const UNKNOWN_PENALTY = 10;

/**
 * The unigram language model of Kudo (2018): of all segmentations of a word, the one with the highest sum of log probabilities, found by
 * dynamic programming. Of equal ones, the piece that starts first wins. Neighboring unknown characters become one unknown token, or the
 * tokens of their bytes if the model has byte fallback.
 */
export class UnigramModelEncoder implements ModelEncoder {
  readonly #trie: UnitTrie;
  readonly #scores: Float64Array;
  readonly #unkId: number;
  readonly #unkScore: number;
  readonly #byteIds: Int32Array | undefined;
  readonly #utf8 = new TextEncoder();
  /** For each end position: the best sum, the start of the last piece, and its id. */
  #best = new Float64Array(256);
  #start = new Int32Array(256);
  #id = new Int32Array(256);

  constructor(model: UnigramModel) {
    const { vocab, unkId, unmatched } = model;
    this.#scores = Float64Array.from(vocab, ([, score]) => score);
    this.#unkId = unkId;
    this.#unkScore = this.#scores.reduce((least, s) => Math.min(least, s)) - UNKNOWN_PENALTY;
    this.#trie = new UnitTrie(vocab.length * 4);
    for (const [id, [piece]] of vocab.entries())
      if (piece.length > 0 && !unmatched?.has(id)) this.#trie.insert(piece, id);
    if (model.byteFallback) this.#byteIds = byteIdsOf(model);
  }

  /** Appends the ids of one pre-token (well-formed text). */
  encode(text: string, out: IdBuffer): void {
    this.#reserve(text.length + 1);
    this.#best.fill(Number.NEGATIVE_INFINITY, 0, text.length + 1);
    this.#best[0] = 0;
    for (let start = 0; start < text.length; ) {
      const width = text.codePointAt(start)! > 0xffff ? 2 : 1;
      if (!this.#offerPieces(text, start, width)) this.#offer(start, start + width, this.#unkId, this.#unkScore);
      start += width;
    }
    this.#emit(text, out);
  }

  /** Offers every piece that begins at `start`. Returns whether one of them is a single character. */
  #offerPieces(text: string, start: number, width: number): boolean {
    let single = false;
    let node = 0;
    for (let end = start; end < text.length; ) {
      node = this.#trie.child(node, text.charCodeAt(end++));
      if (node < 0) break;
      const id = this.#trie.value(node);
      if (id < 0) continue;
      this.#offer(start, end, id, this.#scores[id]!);
      if (end - start === width) single = true;
    }
    return single;
  }

  /** Records a piece if it gives a better sum for its end position. */
  #offer(start: number, end: number, id: number, score: number): void {
    const sum = this.#best[start]! + score;
    if (sum <= this.#best[end]!) return;
    this.#best[end] = sum;
    this.#start[end] = start;
    this.#id[end] = id;
  }

  /** Appends the ids of the best path: follows it backward, reversing it in place, then forward. */
  #emit(text: string, out: IdBuffer): void {
    const next = this.#start;
    let end = text.length;
    let follower = -1;
    while (end > 0) {
      const start = next[end]!;
      next[end] = follower;
      follower = end;
      end = start;
    }
    for (let at = 0, to = follower; to >= 0; ) {
      const id = this.#id[to]!;
      if (id === this.#unkId) while (next[to]! >= 0 && this.#id[next[to]!] === id) to = next[to]!;
      if (id === this.#unkId) this.#emitUnknown(text.slice(at, to), out);
      else out.push(id);
      at = to;
      to = next[to]!;
    }
  }

  /** Appends the ids of unknown text. Joined unknown pieces may be a token, as in the library. */
  #emitUnknown(text: string, out: IdBuffer): void {
    const before = out.length;
    const node = this.#trie.find(text);
    if (node >= 0 && this.#trie.value(node) >= 0) {
      out.push(this.#trie.value(node));
      return;
    }
    for (const byte of this.#byteIds ? this.#utf8.encode(text) : []) {
      const id = this.#byteIds![byte]!;
      if (id < 0) {
        out.truncate(before);
        break;
      }
      out.push(id);
    }
    if (out.length === before) out.push(this.#unkId);
  }

  #reserve(length: number): void {
    if (length <= this.#best.length) return;
    const size = Math.max(length, this.#best.length * 2);
    this.#best = new Float64Array(size);
    this.#start = new Int32Array(size);
    this.#id = new Int32Array(size);
  }
}

/** Returns the id of each byte's token, or -1. */
function byteIdsOf(model: UnigramModel): Int32Array {
  const tokens = Array.from({ length: 256 }, (_, byte) => byteToken(byte));
  const ids = idsInVocabulary(model, tokens);
  return Int32Array.from(tokens, (token) => ids.get(token) ?? -1);
}
