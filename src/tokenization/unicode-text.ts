import { PLAIN_IN_FORMS } from './character-classes.ts';
import { streamSafe } from './stream-safe.ts';

/** Members of a class: letters, digits, marks and connectors, as `\w` of the Rust library. */
export const WORD = String.raw`\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}`;

type UnicodeForm = 'NFC' | 'NFD' | 'NFKC' | 'NFKD';

const PLAIN = new RegExp(`[${PLAIN_IN_FORMS}]`, 'u');
const BETWEEN_PLAIN = new RegExp(`([${PLAIN_IN_FORMS}])`, 'u');

/**
 * Returns text in a Unicode normalization form by the tables of Unicode 9, which the Rust library has. Characters that got a mapping or a
 * combining class since then stand between stretches that are normalized by themselves.
 */
export function inForm(text: string, form: UnicodeForm): string {
  const safe = streamSafe(text);
  if (!PLAIN.test(safe)) return safe.normalize(form);
  return safe
    .split(BETWEEN_PLAIN)
    .map((stretch, i) => (i % 2 === 1 ? stretch : stretch.normalize(form)))
    .join('');
}

/** Returns text with each character lowered by itself: a capital sigma becomes σ, at the end of a word too. */
export function lowercase(text: string): string {
  return text.replaceAll('Σ', 'σ').toLowerCase();
}
