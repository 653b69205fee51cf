import { sourceOf, stringifyExact } from '../../util/exact-json.ts';
import { piecesOf } from '../../util/pieces.ts';
import { Turn } from '../turn.ts';
import { isWide } from './parse-in-turns.ts';

/**
 * An answer with long lists, as JSON text: `head`, the items joined by commas, `tail`, which may go on with another list. Scores need a
 * notation that `JSON.stringify` does not have, and writing a list of 10,000 must not block the event loop.
 */
export interface JsonText {
  readonly head: string;
  readonly count: number;
  /** JSON text of item `i`; a long one in pieces. */
  item(i: number): string | Iterable<string>;
  readonly tail: string | JsonText;
}

/** Items between two readings of the clock. */
const ITEMS_PER_CHECK = 64;
/** Characters encoded at once. */
const PIECE = 65_536;
/** Characters that a number or a literal counts as. */
const SCALAR = 8;

function* textPieces({ head, count, item, tail }: JsonText): Generator<string> {
  yield head;
  for (let i = 0; i < count; i++) {
    const text = item(i);
    if (typeof text === 'string') yield i === 0 ? text : `,${text}`;
    else {
      if (i > 0) yield ',';
      yield* text;
    }
  }
  if (typeof tail === 'string') yield tail;
  else yield* textPieces(tail);
}

/** Encodes the text as UTF-8 in pieces, and yields to other events every few milliseconds. */
export async function writeJson(text: JsonText): Promise<readonly Buffer[]> {
  const pieces: Buffer[] = [];
  let out = '';
  const turn = new Turn();
  let items = 0;
  for (const more of textPieces(text)) {
    out += more;
    if (++items < ITEMS_PER_CHECK && out.length < PIECE) continue;
    items = 0;
    if (out.length >= PIECE) {
      pieces.push(Buffer.from(out));
      out = '';
    }
    await turn.rest();
  }
  pieces.push(Buffer.from(out));
  return pieces;
}

/** Returns what is left of `characters` after the strings and keys of a JSON value; it counts no further than 0. */
function roomAfter(value: unknown, characters: number): number {
  if (typeof value === 'string') return characters - value.length;
  if (typeof value !== 'object' || value === null) return characters - SCALAR;
  let left = characters;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length && left > 0; i++) left = roomAfter(value[i], left);
    return left;
  }
  // Listing the fields of a wide object takes milliseconds.
  if (isWide(value)) return 0;
  for (const [key, inside] of Object.entries(value)) {
    if (left <= 0) return left;
    left = roomAfter(inside, left - key.length);
  }
  return left;
}

/** Returns the JSON text of a long string in pieces; surrogate pairs stay together, because a half is written as an escape. */
function* longString(text: string): Generator<string> {
  yield '"';
  for (const piece of piecesOf(text, PIECE)) yield JSON.stringify(piece).slice(1, -1);
  yield '"';
}

/** The value at `key` of a long object or array. */
function* partPieces(holder: object, key: string, value: unknown): Generator<string> {
  if (typeof value === 'number') yield sourceOf(holder, key, value);
  else yield* valuePieces(value);
}

function* valuePieces(value: unknown): Generator<string> {
  if (roomAfter(value, PIECE) > 0) yield stringifyExact(value);
  else if (typeof value === 'string') yield* longString(value);
  else if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      yield i === 0 ? '[' : ',';
      yield* partPieces(value, String(i), value[i]);
    }
    yield ']';
  } else {
    let before = '{';
    for (const [key, inside] of Object.entries(value as object)) {
      if (inside === undefined) continue;
      yield before;
      yield* valuePieces(key);
      yield ':';
      yield* partPieces(value as object, key, inside);
      before = ',';
    }
    yield before === '{' ? '{}' : '}';
  }
}

/** Returns `before`, the field of a value out of a request with its numbers as they came, `after`; in pieces where the value is long. */
export function aroundField(before: string, name: string, value: unknown, after: string): string | Iterable<string> {
  if (value === undefined || roomAfter(value, PIECE) > 0) return before + field(name, value) + after;
  return (function* () {
    yield `${before},${JSON.stringify(name)}:`;
    yield* valuePieces(value);
    yield after;
  })();
}

/** Returns `,"name":value`, or nothing for an undefined value; for objects that already have a field. */
export function field(name: string, value: unknown): string {
  return value === undefined ? '' : `,${JSON.stringify(name)}:${stringifyExact(value)}`;
}

/** Returns several such fields. */
export function moreFields(fields: Readonly<Record<string, unknown>>): string {
  return Object.entries(fields)
    .map(([name, value]) => field(name, value))
    .join('');
}
