import { isUtf8 } from 'node:buffer';
import { setImmediate as nextTurn } from 'node:timers/promises';

/** Bytes copied or checked at once: well below a millisecond. */
const PIECE = 1 << 20;

const isContinuation = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80;

/** Joins chunks, and yields to other events after every megabyte. Empties `chunks`, so that their memory is freed while the copy grows. */
export async function joinInTurns(chunks: Buffer[], size: number): Promise<Buffer> {
  if (chunks.length === 1) return chunks.pop()!;
  if (size <= PIECE) return Buffer.concat(chunks.splice(0), size);
  const bytes = Buffer.allocUnsafeSlow(size);
  let since = 0;
  let at = 0;
  chunks.reverse();
  for (let chunk = chunks.pop(); chunk !== undefined; chunk = chunks.pop()) {
    at += chunk.copy(bytes, at);
    since += chunk.length;
    if (since < PIECE) continue;
    since = 0;
    await nextTurn();
  }
  return bytes;
}

/** Returns whether bytes are UTF-8; yields to other events after every megabyte. */
export async function isUtf8InTurns(bytes: Buffer): Promise<boolean> {
  for (let start = 0; start < bytes.length; ) {
    let end = Math.min(bytes.length, start + PIECE);
    // A character has at most three more bytes; a longer run is not UTF-8 wherever it is cut.
    for (let back = 0; back < 3 && end < bytes.length && isContinuation(bytes[end]); back++) end--;
    if (!isUtf8(bytes.subarray(start, end))) return false;
    start = end;
    if (start < bytes.length) await nextTurn();
  }
  return true;
}
