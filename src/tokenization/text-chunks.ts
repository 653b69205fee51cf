import type { Lane } from './worker-protocol.ts';

/** Texts and UTF-16 units of a chunk: large enough to be worth a message, small enough that requests take turns. */
const CHUNK_TEXTS = 64;
const CHUNK_UNITS = 1 << 17;

/** Cuts a list of texts into chunks. */
export function textChunks(texts: readonly string[]): string[][] {
  const result: string[][] = [];
  let chunk: string[] = [];
  let units = 0;
  for (const text of texts) {
    if (chunk.length === CHUNK_TEXTS || (chunk.length > 0 && units + text.length > CHUNK_UNITS)) {
      result.push(chunk);
      chunk = [];
      units = 0;
    }
    chunk.push(text);
    units += text.length;
  }
  if (chunk.length > 0) result.push(chunk);
  return result;
}

/** Returns the lane of a chunk: a text that is a chunk of its own may be long. */
export function laneOf(chunk: readonly string[]): Lane {
  return chunk.some((text) => text.length > CHUNK_UNITS) ? 'long' : 'quick';
}
