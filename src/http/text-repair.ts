import { setImmediate as nextTurn } from 'node:timers/promises';
import type { QueryRequest } from './dialects/dialect.ts';

type Texts = Pick<QueryRequest, 'query' | 'passages'>;

/** UTF-16 units looked at or repaired at once, and how long a turn of the event loop may take, in milliseconds. */
const PIECE = 16_384;
const TURN_MS = 4;

/** Splits a text between characters into pieces of at most `PIECE` units. */
function* pieces(text: string): Generator<string> {
  for (let start = 0; start < text.length; ) {
    let end = Math.min(text.length, start + PIECE);
    if (end < text.length && (text.charCodeAt(end - 1) & 0xfc00) === 0xd800) end--;
    yield text.slice(start, end);
    start = end;
  }
}

const isClean = (piece: string) => piece.isWellFormed() && !piece.includes('\0');

/**
 * Replaces halves of surrogate pairs by U+FFFD, as encoding to UTF-8 does, and drops NUL characters. Over bytes: replacing millions of
 * characters in strings takes twenty times as long, and garbage as much again.
 */
function repairPiece(piece: string): string {
  const bytes = Buffer.from(piece);
  let kept = 0;
  for (const byte of bytes) if (byte !== 0) bytes[kept++] = byte;
  return bytes.toString('utf8', 0, kept);
}

/** Makes texts ones that a tokenizer reads, and counts those that it changes. */
class TextRepair {
  changed = 0;
  #turn = performance.now();

  /** Repairs one text. */
  async text(text: string): Promise<string> {
    if (text.length <= PIECE && isClean(text)) return text;
    const repaired: string[] = [];
    let isChanged = false;
    for (const piece of pieces(text)) {
      const clean = isClean(piece);
      isChanged ||= !clean;
      repaired.push(clean ? piece : repairPiece(piece));
      await this.#rest();
    }
    if (!isChanged) return text;
    this.changed++;
    return repaired.join('');
  }

  async texts(texts: readonly string[]): Promise<readonly string[]> {
    const repaired: string[] = [];
    for (const text of texts) {
      repaired.push(text.length <= PIECE && isClean(text) ? text : await this.text(text));
      if (repaired.length % 64 === 0) await this.#rest();
    }
    return repaired;
  }

  async #rest(): Promise<void> {
    if (performance.now() - this.#turn < TURN_MS) return;
    await nextTurn();
    this.#turn = performance.now();
  }
}

/**
 * Repairs texts that were cut in the middle of a character or hold NUL, as some extractors of PDF write it: one bad character must not cost
 * the request. Halves of surrogate pairs become U+FFFD, NUL is dropped; both is what tokenizers make of them.
 * @returns the requests with texts to score, and the number of texts that were changed.
 */
export async function repairTexts<R extends Texts>(
  requests: readonly R[],
): Promise<{ readonly requests: readonly R[]; readonly changed: number }> {
  const repair = new TextRepair();
  const repaired: R[] = [];
  for (const request of requests) {
    const query = await repair.text(request.query);
    repaired.push({ ...request, query, passages: await repair.texts(request.passages) });
  }
  return { requests: repaired, changed: repair.changed };
}
