import { createHash } from 'node:crypto';

/** An id for a text that came without one: the same text has the same id in every file, so that scores of it are found again. */
export const textId = (text: string): string => createHash('sha256').update(text).digest('base64url').slice(0, 20);
