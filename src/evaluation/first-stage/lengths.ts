/*
 * Lucene stores a passage's length in one byte: exact up to 40 terms, then with four significant bits. BM25 over exact lengths ranks
 * slightly differently, so both are available.
 */

/** Lengths below this are stored unchanged; codes of the rest start after them. */
const EXACT_LENGTHS = 24;

function toFloat4(value: number): number {
  const bits = 32 - Math.clz32(value);
  if (bits < 4) return value;
  const shift = bits - 4;
  return ((value >>> shift) & 7) | ((shift + 1) << 3);
}

function fromFloat4(code: number): number {
  const [bits, shift] = [code & 7, (code >>> 3) - 1];
  return shift < 0 ? bits : (bits | 8) * 2 ** shift;
}

/** Returns the byte Lucene stores for a length (`SmallFloat.intToByte4`). */
export const lengthToByte = (length: number): number =>
  length < EXACT_LENGTHS ? length : EXACT_LENGTHS + toFloat4(length - EXACT_LENGTHS);

/** Returns the length Lucene reads back from a byte (`SmallFloat.byte4ToInt`), never above the one stored. */
export const byteToLength = (byte: number): number =>
  byte < EXACT_LENGTHS ? byte : EXACT_LENGTHS + fromFloat4(byte - EXACT_LENGTHS);
