/** Space, tab, vertical tab, form feed and carriage return: C's isspace, which trec_eval splits at. */
const isSpace = (byte: number): boolean => byte === 32 || (byte >= 9 && byte <= 13);

/**
 * Splits a line at white space. Writes start and end of each field to `out` (2 numbers a field) and returns the number of fields; all
 * fields that do not fit into `out` count as one.
 */
export function splitFields(bytes: Uint8Array, start: number, end: number, out: Int32Array): number {
  let count = 0;
  let i = start;
  for (;;) {
    while (i < end && isSpace(bytes[i]!)) i++;
    if (i >= end) return count;
    if (2 * count >= out.length) return count + 1;
    out[2 * count] = i;
    while (i < end && !isSpace(bytes[i]!)) i++;
    out[2 * count + 1] = i;
    count++;
  }
}

const EXACT_POWERS = Float64Array.from({ length: 23 }, (_, i) => 10 ** i);
const INFINITIES = /^([+-]?)inf(?:inity)?$/i;

function slowNumber(bytes: Buffer, start: number, end: number): number {
  const text = bytes.toString('latin1', start, end);
  const infinite = INFINITIES.exec(text);
  if (infinite !== null) return infinite[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
}

/**
 * Parses a decimal number as the nearest double; NaN if the bytes are not a number. Up to 15 digits without exponent are parsed in place:
 * digits and power of ten are exact doubles, so one division rounds correctly (Clinger 1990). Everything else goes through a string.
 */
export function parseNumber(bytes: Buffer, start: number, end: number): number {
  let i = start;
  const negative = bytes[i] === 45;
  if (negative) i++;
  let digits = 0;
  let value = 0;
  let point = -1;
  for (; i < end; i++) {
    const byte = bytes[i]!;
    if (byte >= 48 && byte <= 57) {
      value = value * 10 + byte - 48;
      digits++;
    } else if (byte === 46 && point < 0) point = i;
    else return slowNumber(bytes, start, end);
  }
  if (digits === 0 || digits > 15) return slowNumber(bytes, start, end);
  const exact = point < 0 ? value : value / EXACT_POWERS[end - point - 1]!;
  return negative ? -exact : exact;
}

/** Returns whether bytes `start` … `end` of one array equal the first `length` bytes of the other. */
export function sameBytes(bytes: Uint8Array, start: number, end: number, other: Uint8Array, length: number): boolean {
  if (end - start !== length) return false;
  for (let i = 0; i < length; i++) if (bytes[start + i] !== other[i]) return false;
  return true;
}
