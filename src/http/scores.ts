import { WinnowError } from '../errors.ts';

/** Adds a decimal point to a number without one, which typed clients would read as an integer. */
function withPoint(text: string): string {
  if (text.includes('.')) return text;
  const exponent = text.indexOf('e');
  return exponent < 0 ? `${text}.0` : `${text.slice(0, exponent)}.0${text.slice(exponent)}`;
}

/** Powers of ten that are exact doubles. */
const POWERS: readonly number[] = Object.freeze(Array.from({ length: 23 }, (_, k) => Number(`1e${k}`)));

/**
 * Returns the nearest decimal with `digits` significant digits, as a double. Dividing an integer by an exact power of ten rounds once, as
 * reading the decimal does, and is ten times as fast as a conversion through text.
 */
function nearestDecimal(value: number, digits: number, exponent: number): number {
  const scale = POWERS[digits - 1 - exponent];
  return scale === undefined ? Number(value.toPrecision(digits)) : Math.round(value * scale) / scale;
}

/** Returns a decimal with `digits` digits that reads back as `value`, if there is one. */
function withDigits(value: number, digits: number, exponent: number): number | undefined {
  const nearest = nearestDecimal(value, digits, exponent);
  if (Math.fround(nearest) === value) return nearest;
  if (!Number.isInteger(Math.log2(Math.abs(value)))) return undefined;
  // Above a power of two the gap to the next float32 is twice that below: the farther decimal may read back where the nearer one does not.
  const unit = 10 ** (exponent - digits + 1);
  const farther = Number((nearest + Math.sign(value) * unit).toPrecision(digits));
  return Math.fround(farther) === value ? farther : undefined;
}

/** Returns the decimal with the fewest significant digits. Nine always suffice; most scores need seven to nine, so the search starts at eight. */
function shortest(value: number): number {
  const exponent = Math.floor(Math.log10(Math.abs(value)));
  let found = withDigits(value, 8, exponent);
  if (found === undefined) return Number(value.toPrecision(9));
  for (let digits = 7; digits >= 1; digits--) {
    const shorter = withDigits(value, digits, exponent);
    if (shorter === undefined) break;
    found = shorter;
  }
  return found;
}

/** Rounds a score to float32. @throws WinnowError `not_a_number` for NaN and infinities. */
export function asFloat32(score: number, row: number): number {
  const value = Math.fround(score);
  if (!Number.isFinite(value)) throw new WinnowError('not_a_number', { row });
  return value;
}

/**
 * Writes a score for the wire: the shortest decimal that reads back as the same float32, always with a decimal point (so that no client
 * reads `1.0` as an integer) and at most 18 characters (some Java parsers read longer ones as BigDecimal).
 * @throws WinnowError `not_a_number` for NaN and infinities, which JSON cannot express.
 */
export function formatScore(score: number, row = 0): string {
  const value = asFloat32(score, row);
  if (value === 0) return '0.0';
  const decimal = shortest(value);
  // From 1e9 on, plain notation would add up to 39 zeros that carry no information.
  return withPoint(Math.abs(decimal) >= 1e9 ? decimal.toExponential() : String(decimal));
}
