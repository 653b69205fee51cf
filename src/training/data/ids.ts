import { createHash } from 'node:crypto';

/** Returns an id for a text without one: the same in every file, so that its scores are found again. */
export const textId = (text: string): string => createHash('sha256').update(text).digest('base64url').slice(0, 20);
