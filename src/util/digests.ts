import { createHash, hash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { piecesOf } from './pieces.ts';

/** UTF-16 units hashed in one turn of the event loop: a few milliseconds where every unit is three bytes. */
const UNITS_PER_TURN = 2 ** 20;
/** Units that a text counts for in addition to its own: the cost of an empty one. */
const UNITS_PER_TEXT = 1000;

interface DigestOptions {
  readonly encoding: 'hex' | 'base64';
  /** Hashed before each text. */
  readonly prefix?: string;
}

/** Hashes a text that is longer than a turn may take. */
async function digestLong(text: string, { encoding, prefix = '' }: DigestOptions): Promise<string> {
  const sha256 = createHash('sha256').update(prefix);
  // A character cut in half would be hashed as two others.
  for (const piece of piecesOf(text, UNITS_PER_TURN)) {
    sha256.update(piece);
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
