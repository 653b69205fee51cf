import { refusal } from './refusal.ts';

/** The longest replacement, in UTF-8 bytes. That of U+FDFA, the longest of Unicode's, has 33. */
const MAX_REPLACEMENT_BYTES = 64;
/** The longest grapheme, in UTF-8 bytes, that is looked up as a whole. */
const MAX_KEY_BYTES = 5;

/**
 * Text of characters that are graphemes by themselves (Latin, Greek, Cyrillic, Armenian, punctuation, symbols, kana, ideographs). Testing
 * for it is faster than segmenting.
 */
const SINGLE_GRAPHEMES =
  /^[\t\n -~\u00a0-\u02ff\u0370-\u0482\u048a-\u058f\u1e00-\u1fff\u2010-\u2027\u2030-\u205e\u2070-\u20cf\u2100-\u2bff\u3001-\u3029\u3041-\u3096\u30a1-\u30ff\u3400-\u9fff]*$/;

/**
 * SentencePiece's compiled normalization map: a double-array trie (darts-clone layout) from UTF-8 keys to offsets into a block of
 * NUL-terminated replacements. Applied as in Hugging Face's tokenizers: a grapheme of at most 5 bytes is replaced as a whole by the
 * replacement of its shortest mapped prefix; otherwise each character is looked up alone.
 */
export class CharsMap {
  readonly #units: Uint32Array;
  readonly #replacements: Uint8Array;
  readonly #graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });
  readonly #utf8 = new TextEncoder();
  readonly #decoder = new TextDecoder();
  readonly #key = new Uint8Array(64);
  /** Matches text that the map may change: all but printable ASCII, with one character on either side that may join it in a grapheme. */
  readonly #touched: RegExp;

  /**
   * Reads a compiled map.
   * @param blob Length of the trie in bytes (u32), trie, replacements; little-endian.
   * @throws WinnowError `invalid_manifest`.
   */
  constructor(blob: Uint8Array, file: string, field: string) {
    const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
    const size = blob.byteLength >= 4 ? view.getUint32(0, true) : -1;
    if (size < 4 || size % 4 !== 0 || size + 4 > blob.byteLength)
      throw refusal(file, field, 'a compiled character map', `${blob.byteLength} other bytes`);
    this.#units = Uint32Array.from({ length: size / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
    this.#replacements = blob.slice(4 + size);
    for (let start = 0, end = 0; start < this.#replacements.length; start = end + 1) {
      end = this.#replacements.indexOf(0, start);
      if (end < 0) end = this.#replacements.length;
      if (end - start > MAX_REPLACEMENT_BYTES)
        throw refusal(file, field, `replacements of at most ${MAX_REPLACEMENT_BYTES} bytes`, `${end - start} bytes`);
    }
    const printable = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i));
    const inert = printable.every((c) => this.#lookUp(c) === undefined);
    this.#touched = inert ? /(?:[ -~]?[^ -~]+)+[ -~]?/g : /.+/gs;
  }

  /** Normalizes well-formed text. */
  apply(text: string): string {
    return text.replace(this.#touched, (stretch) => {
      let result = '';
      if (SINGLE_GRAPHEMES.test(stretch)) {
        for (const character of stretch) result += this.#lookUp(character) ?? character;
        return result;
      }
      for (const { segment } of this.#graphemes.segment(stretch)) result += this.#grapheme(segment);
      return result;
    });
  }

  #grapheme(grapheme: string): string {
    const whole = Buffer.byteLength(grapheme) <= MAX_KEY_BYTES ? this.#lookUp(grapheme) : undefined;
    if (whole !== undefined) return whole;
    let result = '';
    for (const character of grapheme) result += this.#lookUp(character) ?? character;
    return result;
  }

  /** Returns the replacement of the shortest mapped prefix of `text`; undefined if no prefix is mapped. */
  #lookUp(text: string): string | undefined {
    const { written } = this.#utf8.encodeInto(text, this.#key);
    let node = offsetOf(this.#units[0]!);
    for (let i = 0; i < written; i++) {
      const byte = this.#key[i]!;
      node ^= byte;
      const unit = this.#units[node];
      // The trie marks ends by NUL, so no key contains it.
      if (byte === 0 || unit === undefined || labelOf(unit) !== byte) return undefined;
      node ^= offsetOf(unit);
      if (hasLeaf(unit)) return this.#replacementAt(this.#units[node]);
    }
    return undefined;
  }

  #replacementAt(leaf: number | undefined): string | undefined {
    if (leaf === undefined) return undefined;
    const start = leaf & 0x7fffffff;
    const end = this.#replacements.indexOf(0, start);
    return this.#decoder.decode(this.#replacements.subarray(start, end < 0 ? undefined : end));
  }
}

/* The bit layout of a darts-clone unit (S. Yata, 2011). */
const hasLeaf = (unit: number): boolean => ((unit >>> 8) & 1) === 1;
const labelOf = (unit: number): number => (unit & 0x800000ff) >>> 0;
const offsetOf = (unit: number): number => (unit >>> 10) << ((unit & 0x200) >>> 6);
