import { setImmediate as nextTurn } from 'node:timers/promises';

/**
 * An answer with one long list, as JSON text in pieces: `head`, the items joined by commas, `tail`. Scores need a notation that
 * `JSON.stringify` cannot give them, and a list of 10,000 must not hold the event loop.
 */
export interface JsonText {
  readonly head: string;
  readonly count: number;
  /** JSON text of item `i`. */
  item(i: number): string;
  readonly tail: string;
}

/** How long the writer keeps the event loop in one turn, in milliseconds; the clock is read every so many items. */
const TURN_MS = 4;
const ITEMS_A_LOOK = 64;
/** Characters that are turned into bytes at once. */
const PIECE = 65_536;

/** Writes the text as UTF-8 in pieces, giving way to other events every few milliseconds. */
export async function writeJson(text: JsonText): Promise<readonly Buffer[]> {
  const pieces: Buffer[] = [];
  let out = text.head;
  let turn = performance.now();
  let items = 0;
  for (let i = 0; i < text.count; i++) {
    out += i === 0 ? text.item(i) : `,${text.item(i)}`;
    if (++items < ITEMS_A_LOOK && out.length < PIECE) continue;
    items = 0;
    if (out.length >= PIECE) {
      pieces.push(Buffer.from(out));
      out = '';
    }
    if (performance.now() - turn > TURN_MS) {
      await nextTurn();
      turn = performance.now();
    }
  }
  pieces.push(Buffer.from(out + text.tail));
  return pieces;
}

/** `,"name":value`, or nothing where there is no value; for the inside of an object that has a field already. */
export function field(name: string, value: unknown): string {
  return value === undefined ? '' : `,${JSON.stringify(name)}:${JSON.stringify(value)}`;
}

/** Several fields in a row. */
export function moreFields(fields: Readonly<Record<string, unknown>>): string {
  return Object.entries(fields)
    .map(([name, value]) => field(name, value))
    .join('');
}
