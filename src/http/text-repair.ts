import { piecesOf } from '../util/pieces.ts';
import type { QueryRequest } from './dialects/dialect.ts';
import { Turn } from './turn.ts';

type Texts = Pick<QueryRequest, 'query' | 'passages' | 'instruction'>;

/** UTF-16 units looked at or repaired at once. */
const PIECE = 16_384;

const isClean = (piece: string) => piece.isWellFormed() && !piece.includes('\0');

/**
 * Returns UTF-8 without NUL characters. Over bytes: replacing millions of characters in strings takes twenty times as long, and garbage as
 * much again.
 */
export function withoutNul(bytes: Buffer): Buffer {
  const kept = Buffer.allocUnsafe(bytes.length);
  let length = 0;
  for (const byte of bytes) if (byte !== 0) kept[length++] = byte;
  return kept.subarray(0, length);
}

/** Replaces halves of surrogate pairs by U+FFFD, as encoding to UTF-8 does, and drops NUL characters. */
const repairPiece = (piece: string): string => withoutNul(Buffer.from(piece)).toString('utf8');

/** Repairs texts for the tokenizer, and counts those that it changes. */
class TextRepair {
  changed = 0;
  readonly #turn = new Turn();

  /** Repairs one text. */
  async text(text: string): Promise<string> {
    if (text.length <= PIECE && isClean(text)) return text;
    const repaired: string[] = [];
    let isChanged = false;
    for (const piece of piecesOf(text, PIECE)) {
      const clean = isClean(piece);
      isChanged ||= !clean;
      repaired.push(clean ? piece : repairPiece(piece));
      await this.#turn.rest();
    }
    if (!isChanged) return text;
    this.changed++;
    return repaired.join('');
  }

  async texts(texts: readonly string[]): Promise<readonly string[]> {
    const repaired: string[] = [];
    for (const text of texts) {
      repaired.push(text.length <= PIECE && isClean(text) ? text : await this.text(text));
      if (repaired.length % 64 === 0) await this.#turn.rest();
    }
    return repaired;
  }
}

/**
 * Repairs texts that were cut in the middle of a character or hold NUL, as some extractors of PDF write it: one bad character must not make the
 * request fail. Halves of surrogate pairs become U+FFFD, NUL is dropped; both is what tokenizers make of them.
 * @returns the requests with texts to score, and the number of texts that were changed.
 */
export async function repairTexts<R extends Texts>(
  requests: readonly R[],
): Promise<{ readonly requests: readonly R[]; readonly changed: number }> {
  const repair = new TextRepair();
  const repaired: R[] = [];
  for (const request of requests) {
    const query = await repair.text(request.query);
    const instruction =
      request.instruction === undefined ? {} : { instruction: await repair.text(request.instruction) };
    repaired.push({ ...request, ...instruction, query, passages: await repair.texts(request.passages) });
  }
  return { requests: repaired, changed: repair.changed };
}
