import { describe, WinnowError } from '../errors.ts';

/** What a number may be; without limits, any finite one. */
export interface NumberRange {
  readonly integer?: boolean;
  readonly min?: number;
  readonly max?: number;
}

const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** Returns the decimal number a text holds, or `undefined`: hexadecimal, empty and infinite ones are no settings. */
export function decimalIn(text: string): number | undefined {
  const trimmed = text.trim();
  const value = DECIMAL.test(trimmed) ? Number(trimmed) : Number.NaN;
  return Number.isFinite(value) ? value : undefined;
}

function rangeName({ integer, min, max }: NumberRange): string {
  const kind = integer ? 'a whole number' : 'a number';
  if (min !== undefined && max !== undefined) return `${kind} from ${min} to ${max}`;
  if (min !== undefined) return `${kind} of at least ${min}`;
  return max === undefined ? kind : `${kind} of at most ${max}`;
}

/**
 * Parses the number given for a flag.
 * @throws WinnowError `invalid_input` naming the flag, the range and the text.
 */
export function parseNumber(text: string, flag: string, range: NumberRange = {}): number {
  const { integer = false, min = -Infinity, max = Infinity } = range;
  const value = decimalIn(text);
  if (value !== undefined && value >= min && value <= max && (!integer || Number.isInteger(value))) return value;
  throw new WinnowError('invalid_input', { where: flag, expected: rangeName(range), got: describe(text) });
}

/** Parses `from-to`, two whole numbers from 1 that rise. @throws WinnowError `invalid_input`. */
export function parseRanks(text: string, flag: string): [number, number] {
  const [, from, to] = /^(\d+)-(\d+)$/.exec(text) ?? [];
  const ranks: [number, number] = [Number(from), Number(to)];
  if (ranks[0] >= 1 && ranks[1] >= ranks[0]) return ranks;
  throw new WinnowError('invalid_input', {
    where: flag,
    expected: 'two ranks from 1, the lower one first, such as 10-100',
    got: describe(text),
  });
}

/** Parses a point in time, ISO 8601 or milliseconds since 1970, to milliseconds. @throws WinnowError `invalid_input`. */
export function parseTime(text: string, flag: string): number {
  const time = /^\d{10,}$/.test(text) ? Number(text) : Date.parse(text);
  if (!Number.isNaN(time)) return time;
  throw new WinnowError('invalid_input', {
    where: flag,
    expected: 'an ISO 8601 time, such as 2026-05-01T00:00:00Z, or milliseconds since 1970',
    got: describe(text),
  });
}
