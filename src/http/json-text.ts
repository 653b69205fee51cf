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

/** Items written between two turns of the event loop: about 2 ms of work. */
const ITEMS_A_TURN = 1000;

/** The whole text. Gives way to other events every thousand items. */
export async function writeJson(text: JsonText): Promise<string> {
  let out = text.head;
  for (let i = 0; i < text.count; i++) {
    if (i > 0 && i % ITEMS_A_TURN === 0) await nextTurn();
    out += i === 0 ? text.item(i) : `,${text.item(i)}`;
  }
  return out + text.tail;
}

/** `,"name":value` for each field that has a value; for the inside of an object that has a field already. */
export function moreFields(fields: Readonly<Record<string, unknown>>): string {
  let out = '';
  for (const [name, value] of Object.entries(fields))
    if (value !== undefined) out += `,${JSON.stringify(name)}:${JSON.stringify(value)}`;
  return out;
}
