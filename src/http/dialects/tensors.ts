import { isUtf8 } from 'node:buffer';
import { invalidField } from '../faults.ts';
import { isUtf8InTurns } from '../json/join-in-turns.ts';
import { withoutNul } from '../text-repair.ts';
import { Turn } from '../turn.ts';

/*
 * Reads tensors of text whose bytes follow the JSON of a body: each text is its length, four bytes in little-endian order, and its UTF-8
 * (https://github.com/kserve/open-inference-protocol, binary tensor data extension). Lengths come from the client: each is checked.
 */

/** A tensor whose bytes follow the JSON. */
export interface BinaryTexts {
  /** Place in the body, for messages. */
  readonly field: string;
  /** Texts, as the shape says. */
  readonly count: number;
  /** Bytes, as the client says. */
  readonly size: number;
}

/** Texts of tensors, in the order of the tensors. */
interface ReadTexts {
  readonly texts: readonly (readonly string[])[];
  /** Texts in which bytes that are not UTF-8 were replaced by U+FFFD, as a tokenizer would. */
  readonly repaired: number;
}

/** Bytes decoded at once. */
const PIECE = 65_536;
/** Texts up to here are decoded at once; longer ones that are not UTF-8 are refused, because a passage cut inside a character is shorter. */
const LONG = 1 << 20;
/** Texts up to here are decoded so fast that the clock is not read after each. */
const SHORT = 1024;
/** Bytes of a text's length. */
const LENGTH = 4;

class TextReader {
  repaired = 0;
  readonly #turn = new Turn();

  /** @throws WinnowError `invalid_field` naming the text that does not end where its length says. */
  async tensor(bytes: Buffer, { field, count }: BinaryTexts): Promise<readonly string[]> {
    const texts: string[] = [];
    let at = 0;
    while (texts.length < count) {
      const place = `${field}[${texts.length}]`;
      const left = bytes.length - at - LENGTH;
      if (left < 0) throw invalidField(`${LENGTH} bytes with the length of a text`, `${left + LENGTH}`, place);
      const length = bytes.readUInt32LE(at);
      if (length > left) throw invalidField(`${length} bytes of text, as its length says`, `${left}`, place);
      at += LENGTH + length;
      const own = bytes.subarray(at - length, at);
      texts.push(length > LONG ? await this.#longText(own, place) : this.#text(own));
      if (length > SHORT || texts.length % 64 === 0) await this.#turn.rest();
    }
    if (at < bytes.length)
      throw invalidField(`${count} texts, as the shape says`, `${bytes.length - at} bytes more after them`, field);
    return texts;
  }

  #text(bytes: Buffer): string {
    if (isUtf8(bytes)) return bytes.toString('utf8');
    this.repaired++;
    // So that `repairTexts` does not count the text a second time.
    return withoutNul(bytes).toString('utf8');
  }

  async #longText(bytes: Buffer, place: string): Promise<string> {
    if (!(await isUtf8InTurns(bytes)))
      throw invalidField(`UTF-8 in a text of more than ${LONG} bytes`, 'bytes that are not UTF-8', place);
    let text = '';
    for (let start = 0; start < bytes.length; ) {
      let end = Math.min(bytes.length, start + PIECE);
      while (end < bytes.length && (bytes[end]! & 0xc0) === 0x80) end--;
      text += bytes.toString('utf8', start, end);
      start = end;
      await this.#turn.rest();
    }
    return text;
  }
}

/**
 * Reads the tensors that follow the JSON of a body, one after the other; yields to other events every few milliseconds. No more texts are
 * made than the tensors' counts allow, so check those first.
 * @throws WinnowError `invalid_field` if sizes, lengths and bytes do not agree.
 */
export async function readTexts(bytes: Buffer, tensors: readonly BinaryTexts[]): Promise<ReadTexts> {
  const sum = tensors.reduce((total, { size }) => total + size, 0);
  if (sum !== bytes.length)
    throw invalidField(`${sum} bytes after the JSON, as \`binary_data_size\` says`, `${bytes.length}`, 'body');
  const reader = new TextReader();
  const texts: (readonly string[])[] = [];
  let at = 0;
  for (const tensor of tensors) {
    texts.push(await reader.tensor(bytes.subarray(at, at + tensor.size), tensor));
    at += tensor.size;
  }
  return { texts, repaired: reader.repaired };
}
