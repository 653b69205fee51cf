/*
 * Lucene keeps a passage's length in one byte: exact up to 40 terms, then with four significant bits. BM25 over whole lengths ranks a little
 * differently, so both are offered.
 */

/** Values below this many are stored as they are; the rest start after them. */
const FREE = 24;

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

/** The byte Lucene stores for a length (`SmallFloat.intToByte4`). */
export const lengthToByte = (length: number): number => (length < FREE ? length : FREE + toFloat4(length - FREE));

/** The length Lucene reads back from a byte (`SmallFloat.byte4ToInt`), never above the one stored. */
export const byteToLength = (byte: number): number => (byte < FREE ? byte : FREE + fromFloat4(byte - FREE));
