import { setImmediate as nextTurn } from 'node:timers/promises';

/**
 * An answer with one long list, as JSON text: `head`, the items joined by commas, `tail`. Scores need a notation that `JSON.stringify` does
 * not have, and writing a list of 10,000 must not block the event loop.
 */
export interface JsonText {
  readonly head: string;
  readonly count: number;
  /** JSON text of item `i`. */
  item(i: number): string;
  readonly tail: string;
}

/** How long the writer may block the event loop, in milliseconds. The clock is read once per `ITEMS_PER_CHECK` items. */
const TURN_MS = 4;
const ITEMS_PER_CHECK = 64;
/** Characters encoded at once. */
const PIECE = 65_536;

/** Encodes the text as UTF-8 in pieces, and yields to other events every few milliseconds. */
export async function writeJson(text: JsonText): Promise<readonly Buffer[]> {
  const pieces: Buffer[] = [];
  let out = text.head;
  let turn = performance.now();
  let items = 0;
  for (let i = 0; i < text.count; i++) {
    out += i === 0 ? text.item(i) : `,${text.item(i)}`;
    if (++items < ITEMS_PER_CHECK && out.length < PIECE) continue;
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

/** Returns `,"name":value`, or nothing for an undefined value; for objects that already have a field. */
export function field(name: string, value: unknown): string {
  return value === undefined ? '' : `,${JSON.stringify(name)}:${JSON.stringify(value)}`;
}

/** Returns several such fields. */
export function moreFields(fields: Readonly<Record<string, unknown>>): string {
  return Object.entries(fields)
    .map(([name, value]) => field(name, value))
    .join('');
}
