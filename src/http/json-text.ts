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

/** The whole text. Gives way to other events every few milliseconds. */
export async function writeJson(text: JsonText): Promise<string> {
  let out = text.head;
  let turn = performance.now();
  for (let i = 0; i < text.count; i++) {
    if (i % ITEMS_A_LOOK === 0 && performance.now() - turn > TURN_MS) {
      await nextTurn();
      turn = performance.now();
    }
    out += i === 0 ? text.item(i) : `,${text.item(i)}`;
  }
  return out + text.tail;
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
