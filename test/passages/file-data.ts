import { createHash } from 'node:crypto';
import type { KeptPassage } from '../../src/passages/disk/packed.ts';

/** Returns passage number `i`: everything of it follows from its number. */
export function passage(i: number, bytes = 64 + ((i * 37) % 4000)): KeptPassage {
  const key = createHash('sha256').update(`key ${i}`).digest().subarray(0, 16);
  const seed = createHash('sha512').update(`value ${i}`).digest();
  const value = Uint8Array.from({ length: bytes }, (_, at) => seed[at % 64]! ^ (at >> 6));
  return { key, space: `space ${i % 3}`, tokens: i % 512, value };
}

/** Returns a passage as text, to compare. */
export const shown = ({ key, space, tokens, value }: KeptPassage): string =>
  [Buffer.from(key).toString('hex'), space, tokens, createHash('sha256').update(value).digest('hex')].join(' ');
