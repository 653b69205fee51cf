import { BpeMerger } from './bpe-merger.ts';
import { BYTE_CHARACTERS, byteToken } from './byte-characters.ts';
import type { IdBuffer } from './id-buffer.ts';
import { MergeTable } from './merge-table.ts';
import { normalizerFor } from './normalizers.ts';
import { byteLevelWords } from './pre-tokenizers.ts';
import { refusal } from './refusal.ts';
import { type ModelEncoder, SectionEncoder } from './section-encoder.ts';
import type { TokenEncoder } from './token-encoder.ts';
import type { BpeModel, Definition } from './tokenizer-definition.ts';

/** Byte-level byte-pair encoding, straight from the bytes of a word. */
class ByteLevelBpe implements ModelEncoder {
  readonly #byteIds: Int32Array;
  readonly #merger: BpeMerger;
  readonly #utf8 = new TextEncoder();
  #bytes = new Uint8Array(256);

  /** @param byteIds The id of each byte's token. */
  constructor(byteIds: Int32Array, merges: MergeTable) {
    this.#byteIds = byteIds;
    this.#merger = new BpeMerger(merges);
  }

  /** Appends the ids of one word: well-formed text, not in GPT-2's characters. */
  encode(word: string, out: IdBuffer): void {
    if (word.length * 3 > this.#bytes.length) this.#bytes = new Uint8Array(word.length * 6);
    const { written } = this.#utf8.encodeInto(word, this.#bytes);
    for (let i = 0; i < written; i++) this.#merger.add(this.#byteIds[this.#bytes[i]!]!);
    this.#merger.finish(out);
  }
}

/**
 * Byte-pair encoding over characters with all settings of the Rust library but dropout, which would give a text other ids each time. Unknown
 * characters become bytes (`<0x41>`), the unknown token, or nothing, as the definition says.
 */
export class BpeModelEncoder implements ModelEncoder {
  readonly #model: BpeModel;
  readonly #merger: BpeMerger;
  readonly #unkId: number | undefined;
  readonly #byteIds: readonly (number | undefined)[];
  readonly #utf8 = new TextEncoder();

  /** @throws WinnowError `invalid_manifest` for a merge of tokens that the vocabulary lacks. */
  constructor(model: BpeModel, file: string) {
    this.#model = model;
    this.#merger = new BpeMerger(mergeTable(model, file));
    this.#unkId = model.unkToken === undefined ? undefined : model.vocab.get(model.unkToken);
    this.#byteIds = Array.from({ length: 256 }, (_, b) => model.vocab.get(byteToken(b)));
  }

  encode(word: string, out: IdBuffer): void {
    const { vocab, ignoreMerges, prefix, suffix, fuseUnk } = this.#model;
    const whole = ignoreMerges ? vocab.get(word) : undefined;
    if (whole !== undefined) {
      out.push(whole);
      return;
    }
    let pending = false;
    for (let at = 0; at < word.length; ) {
      const end = at + (word.codePointAt(at)! > 0xffff ? 2 : 1);
      const symbol = `${at > 0 ? prefix : ''}${word.slice(at, end)}${end === word.length ? suffix : ''}`;
      at = end;
      const id = vocab.get(symbol);
      const bytes = id === undefined ? this.#bytesOf(symbol) : undefined;
      if (bytes) for (const b of bytes) this.#merger.add(b);
      else {
        // The library adds an unknown token when it meets the next known or, without fusing, unknown character.
        if (pending && (id !== undefined || !fuseUnk)) this.#merger.add(this.#unkId!);
        if (id !== undefined) this.#merger.add(id);
        pending = id === undefined && this.#unkId !== undefined;
      }
    }
    if (pending) this.#merger.add(this.#unkId!);
    this.#merger.finish(out);
  }

  /** Returns the ids of a symbol's bytes; undefined without byte fallback, or if one is missing. */
  #bytesOf(symbol: string): readonly number[] | undefined {
    if (!this.#model.byteFallback) return undefined;
    const ids = Array.from(this.#utf8.encode(symbol), (byte) => this.#byteIds[byte]);
    return ids.every((id) => id !== undefined) ? ids : undefined;
  }
}

function mergeTable({ vocab, merges, prefix }: BpeModel, file: string): MergeTable {
  const table = new MergeTable(merges.length);
  for (const [rank, [left, right]] of merges.entries()) {
    const joined = left + right.slice(prefix.length);
    const [a, b, merged] = [vocab.get(left), vocab.get(right), vocab.get(joined)];
    if (a === undefined || b === undefined || merged === undefined)
      throw refusal(file, `model.merges[${rank}]`, 'two tokens that join to a token of model.vocab', [left, right]);
    table.set(a, b, rank, merged);
  }
  return table;
}

/** Whether a byte occurs in UTF-8. C0, C1 and F5–FF never do, and some vocabularies omit them. */
function inUtf8(byte: number): boolean {
  return byte < 0xc0 || (byte > 0xc1 && byte < 0xf5);
}

/**
 * Creates an encoder for byte-level BPE whose vocabulary has every byte; undefined for other definitions. It works on bytes, not on the
 * characters that stand for them.
 */
export function byteLevelBpeEncoder(definition: Definition): TokenEncoder | undefined {
  const { model, preTokenizer, normalizer, file } = definition;
  if (model.type !== 'BPE' || !model.plain || preTokenizer?.type !== 'ByteLevel') return undefined;
  const byteIds = Int32Array.from(BYTE_CHARACTERS, (character) => model.vocab.get(character) ?? -1);
  if (byteIds.some((id, byte) => id === -1 && inUtf8(byte))) return undefined;
  return new SectionEncoder(
    definition,
    normalizer === null ? null : normalizerFor(normalizer, file),
    byteLevelWords(preTokenizer, file),
    new ByteLevelBpe(byteIds, mergeTable(model, file)),
  );
}
