import { createHash, hash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';

/** UTF-16 units hashed in one turn of the event loop: a few milliseconds where every unit is three bytes. */
const UNITS_PER_TURN = 2 ** 20;
/** Units that a text counts for in addition to its own: the cost of an empty one. */
const UNITS_PER_TEXT = 1000;

interface DigestOptions {
  readonly encoding: 'hex' | 'base64';
  /** Hashed before each text. */
  readonly prefix?: string;
}

/** Returns where a piece of a text ends: never between the halves of a character, which would be hashed as two others. */
function pieceEnd(text: string, start: number): number {
  const end = Math.min(text.length, start + UNITS_PER_TURN);
  return end < text.length && (text.charCodeAt(end) & 0xfc00) === 0xdc00 ? end - 1 : end;
}

/** Hashes a text that is longer than a turn may take. */
async function digestLong(text: string, { encoding, prefix = '' }: DigestOptions): Promise<string> {
  const sha256 = createHash('sha256').update(prefix);
  for (let start = 0; start < text.length; ) {
    const end = pieceEnd(text, start);
    sha256.update(text.slice(start, end));
    start = end;
    await nextTurn();
  }
  return sha256.digest(encoding);
}

/** Returns the SHA-256 of each text as UTF-8, with turns of the event loop for other work in between. */
export async function digestsInTurns(texts: readonly string[], options: DigestOptions): Promise<string[]> {
  const { encoding, prefix = '' } = options;
  const digests: string[] = [];
  let units = 0;
  for (const text of texts) {
    units += text.length + UNITS_PER_TEXT;
    if (units > UNITS_PER_TURN && digests.length > 0) {
      await nextTurn();
      units = text.length + UNITS_PER_TEXT;
    }
    digests.push(
      text.length > UNITS_PER_TURN ? await digestLong(text, options) : hash('sha256', prefix + text, encoding),
    );
  }
  return digests;
}
