import { hash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { KEY_WORDS, type PassageKeys, type PassageScope } from './passage-types.ts';

/** Bytes hashed in one turn of the event loop: a millisecond or two. */
const BYTES_PER_TURN = 2 ** 20;
/** Bytes that a row counts for in addition to its own: the cost of an empty one. */
const BYTES_PER_ROW = 1000;

const SCOPE_BYTES = 32;

/** Hashes what all keys of a request depend on. */
function scopeDigest({ model, passagePrefix, cut }: PassageScope): Buffer {
  const { name, version, sha256, variant, provider, salt } = model;
  return hash('sha256', JSON.stringify([name, version, sha256, variant, provider, passagePrefix, cut, salt]), 'buffer');
}

/**
 * Returns the keys of rows: the first 128 bits of SHA-256 over scope and token ids. A row is hashed as the engine reads it, so that texts
 * that differ behind their cut share an entry. Other work has its turns in between.
 */
export async function keysInTurns(
  scope: PassageScope,
  rows: readonly { readonly ids: Int32Array }[],
): Promise<PassageKeys> {
  const keys = new Uint32Array(KEY_WORDS * rows.length);
  const bytes = new Uint8Array(keys.buffer);
  const longest = rows.reduce((most, { ids }) => Math.max(most, ids.byteLength), 0);
  const input = new Uint8Array(SCOPE_BYTES + longest);
  input.set(scopeDigest(scope));
  let inTurn = 0;
  for (const [row, { ids }] of rows.entries()) {
    inTurn += ids.byteLength + BYTES_PER_ROW;
    if (inTurn > BYTES_PER_TURN && row > 0) {
      await nextTurn();
      inTurn = ids.byteLength + BYTES_PER_ROW;
    }
    input.set(new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength), SCOPE_BYTES);
    const digest = hash('sha256', input.subarray(0, SCOPE_BYTES + ids.byteLength), 'buffer');
    bytes.set(digest.subarray(0, 4 * KEY_WORDS), 4 * KEY_WORDS * row);
  }
  return keys;
}
