import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { BYTE_CHARACTERS } from '../../src/tokenization/byte-characters.ts';
import type { LoadedTokenizer } from '../../src/tokenization/load.ts';

/** What `test/clients/tokenizers/make_gold.py` writes. */
export interface Gold {
  readonly library: string;
  /** Code points of a block, and of a text. */
  readonly block: number;
  readonly text: number;
  /** Texts of a checksum. */
  readonly group: number;
  /** Long values that definitions name. */
  readonly parts: Readonly<Record<string, string>>;
  readonly texts: readonly string[];
  readonly definitions: readonly GoldDefinition[];
  /** Real vocabularies, by their folder in or beside the project. */
  readonly folders: readonly { readonly name: string; readonly ids: string; readonly sweep: Sweep }[];
}

export interface GoldDefinition {
  readonly name: string;
  readonly normalizer: unknown;
  readonly pre_tokenizer: unknown;
  readonly model: unknown;
  readonly added_tokens: readonly unknown[];
  readonly sweep?: Sweep;
  /** CRC-32 of the ids of each group of texts, 8 digits each. */
  readonly ids: string;
}

export interface Sweep {
  /** CRC-32 of each block without the code points of `differs`, 8 digits each. */
  readonly blocks: string;
  /** Code points whose ids differ, as hexadecimal ranges. */
  readonly differs: string;
  /** CRC-32 of the blocks that have such code points, with them. */
  readonly withPins: Readonly<Record<string, string>>;
}

export const gold = JSON.parse(
  readFileSync(join(import.meta.dirname, '../fixtures/tokenizers/gold.json'), 'utf8'),
) as Gold;

type Encode = LoadedTokenizer['encodeText'];

/** Returns the CRC-32 of the ids of some texts. */
export function checksum(encode: Encode, texts: Iterable<string>): string {
  let crc = 0;
  for (const text of texts) {
    const ids = encode(text);
    crc = crc32(new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength), crc);
  }
  return crc.toString(16).padStart(8, '0');
}

/** Returns the code points of hexadecimal ranges such as `88f 10940-10959`. */
export function members(ranges: string): ReadonlySet<number> {
  const found = new Set<number>();
  for (const range of ranges.split(' ').filter(Boolean)) {
    const [first, last = first] = range.split('-').map((digits) => Number.parseInt(digits, 16));
    for (let c = first!; c <= last!; c++) found.add(c);
  }
  return found;
}

/** Yields the texts of a block of code points: each alone, inside a word and before marks. */
export function* blockTexts(block: number, without: ReadonlySet<number>): Generator<string> {
  let [text, count] = ['', 0];
  for (let c = block * gold.block; c < (block + 1) * gold.block; c++) {
    if (without.has(c) || (c >= 0xd800 && c <= 0xdfff)) continue;
    text += contexts(c);
    if (++count % gold.text > 0) continue;
    yield text;
    text = '';
  }
  if (text !== '') yield text;
}

/** Of planes of ideographs, private characters or none, each code point is seen once. */
function contexts(codePoint: number): string {
  const character = String.fromCodePoint(codePoint);
  if (![0, 1, 14].includes(codePoint >> 16)) return character;
  return `${character} a${character}b e${character}\u0301\u0323 `;
}

/** Returns a definition as the content of a tokenizer.json. */
export function tokenizerJson({ normalizer, pre_tokenizer, model, added_tokens }: GoldDefinition): object {
  return {
    added_tokens,
    normalizer: filled(normalizer),
    pre_tokenizer,
    post_processor: { type: 'BertProcessing', cls: ['a', 0], sep: ['a', 0] },
    model: typeof model === 'string' ? byteModel(model === 'ends') : model,
  };
}

function filled(value: unknown): unknown {
  if (typeof value === 'string') return gold.parts[value] ?? value;
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(filled);
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, filled(part)]));
}

/** A token a byte; with ends, other tokens for the last byte of a pre-token. */
function byteModel(ends: boolean): object {
  const vocab: Record<string, number> = {};
  for (const [b, c] of BYTE_CHARACTERS.entries()) vocab[c] = b;
  if (ends) for (const [b, c] of BYTE_CHARACTERS.entries()) vocab[`${c}</w>`] = 256 + b;
  return { type: 'BPE', vocab, merges: [], end_of_word_suffix: ends ? '</w>' : null };
}
