import { stemmer } from 'stemmer';

/** Words that are a suffix and nothing else. Lucene reduces them; the library requires a letter before a suffix. */
const BARE_SUFFIXES: Readonly<Record<string, string>> = { ies: 'i', sses: 'ss', eed: 'eed', eeds: 'eed' };

const DOUBLE_Y = /^(.*?)(y{2,})(?:ed|ing)s?$/s;

/**
 * Returns the stem of a lower-case word after Porter (1980), equal to that of Lucene's `PorterStemFilter`: the library's, except where the
 * two differ. Lucene reduces a double consonant `yy` before -ed and -ing as it does any other; the second y is a consonant if the first is
 * a vowel, so the y's of a run alternate.
 */
export function porterStem(word: string): string {
  if (word.length < 5 && Object.hasOwn(BARE_SUFFIXES, word)) return BARE_SUFFIXES[word]!;
  const match = word.includes('yy') ? DOUBLE_Y.exec(word) : null;
  if (match === null) return stemmer(word);
  const [, before = '', run = ''] = match;
  const firstIsConsonant = before === '' || /[aeiou]$/.test(before);
  const lastIsConsonant = (run.length % 2 === 1) === firstIsConsonant;
  return stemmer(lastIsConsonant ? before + run.slice(1) : word);
}
