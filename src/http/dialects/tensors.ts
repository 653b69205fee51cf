import { isUtf8 } from 'node:buffer';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { WinnowError } from '../../errors.ts';
import { isUtf8InTurns } from '../json/join-in-turns.ts';

/*
 * Reads tensors of text whose bytes follow the JSON of a body: each text is its length, four bytes in little-endian order, and its UTF-8
 * (https://github.com/kserve/open-inference-protocol, binary tensor data extension). Lengths come from the client: none is believed.
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

/** Bytes decoded at once, and how long a turn of the event loop may take, in milliseconds. */
const PIECE = 65_536;
const TURN_MS = 4;
/** Texts up to here are decoded at once; longer ones that are not UTF-8 are refused, because they are no texts cut in a character. */
const LONG = 1 << 20;
/** Texts up to here take no time worth a look at the clock. */
const SHORT = 1024;
/** Bytes of a text's length. */
const LENGTH = 4;

const fault = (expected: string, got: string, field: string): WinnowError =>
  new WinnowError('invalid_field', { expected, got, field });

/** Drops NUL, so that a text is not counted as repaired a second time because of it. Over bytes: millions of characters take long. */
function withoutNul(bytes: Buffer): Buffer {
  const kept = Buffer.allocUnsafe(bytes.length);
  let length = 0;
  for (const byte of bytes) if (byte !== 0) kept[length++] = byte;
  return kept.subarray(0, length);
}

class TextReader {
  repaired = 0;
  #turn = performance.now();

  /** @throws WinnowError `invalid_field` naming the text that does not end where its length says. */
  async tensor(bytes: Buffer, { field, count }: BinaryTexts): Promise<readonly string[]> {
    const texts: string[] = [];
    let at = 0;
    while (texts.length < count) {
      const place = `${field}[${texts.length}]`;
      const left = bytes.length - at - LENGTH;
      if (left < 0) throw fault(`${LENGTH} bytes with the length of a text`, `${left + LENGTH}`, place);
      const length = bytes.readUInt32LE(at);
      if (length > left) throw fault(`${length} bytes of text, as its length says`, `${left}`, place);
      at += LENGTH + length;
      const own = bytes.subarray(at - length, at);
      texts.push(length > LONG ? await this.#longText(own, place) : this.#text(own));
      if (length > SHORT || texts.length % 64 === 0) await this.#rest();
    }
    if (at < bytes.length)
      throw fault(`${count} texts, as the shape says`, `${bytes.length - at} bytes more after them`, field);
    return texts;
  }

  #text(bytes: Buffer): string {
    if (isUtf8(bytes)) return bytes.toString('utf8');
    this.repaired++;
    return withoutNul(bytes).toString('utf8');
  }

  async #longText(bytes: Buffer, place: string): Promise<string> {
    if (!(await isUtf8InTurns(bytes)))
      throw fault(`UTF-8 in a text of more than ${LONG} bytes`, 'bytes that are not UTF-8', place);
    let text = '';
    for (let start = 0; start < bytes.length; ) {
      let end = Math.min(bytes.length, start + PIECE);
      while (end < bytes.length && (bytes[end]! & 0xc0) === 0x80) end--;
      text += bytes.toString('utf8', start, end);
      start = end;
      await this.#rest();
    }
    return text;
  }

  /** Yields to other events if this turn has lasted too long. */
  async #rest(): Promise<void> {
    if (performance.now() - this.#turn < TURN_MS) return;
    await nextTurn();
    this.#turn = performance.now();
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
    throw fault(`${sum} bytes after the JSON, as \`binary_data_size\` says`, `${bytes.length}`, 'body');
  const reader = new TextReader();
  const texts: (readonly string[])[] = [];
  let at = 0;
  for (const tensor of tensors) {
    texts.push(await reader.tensor(bytes.subarray(at, at + tensor.size), tensor));
    at += tensor.size;
  }
  return { texts, repaired: reader.repaired };
}
