import { hash } from 'node:crypto';

/**
 * Returns 52 bits of the SHA-1 of a text, as a whole number: two of 10 million texts share one with a probability of 1 %. Texts of millions
 * of passages are compared by it in a few bytes each.
 */
export function textHash(text: string): number {
  const bytes = hash('sha1', text, 'buffer');
  return bytes.readUIntBE(0, 6) * 16 + (bytes[6]! >> 4);
}

/** Returns a text as it is compared between data sets: lower case, one space between words. */
export const comparable = (text: string): string => text.toLowerCase().replaceAll(/\s+/gu, ' ').trim();
