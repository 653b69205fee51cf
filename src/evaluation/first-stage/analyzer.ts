import { porterStem } from './porter.ts';

/** The 33 English stop words of Lucene's `EnglishAnalyzer`. */
const STOP_WORDS: ReadonlySet<string> = new Set(
  'a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to was will with'.split(
    ' ',
  ),
);

/** Longer words are cut into pieces of this many characters. */
const LONGEST = 255;

/*
 * Word boundaries of Unicode Standard Annex 29 as Lucene's StandardTokenizer applies them: letters and digits run on, a colon, full stop or
 * apostrophe between letters and a comma, semicolon, full stop or apostrophe between digits do not break, an underscore joins, every
 * ideograph, hiragana sign and emoji stands alone, katakana joins only katakana.
 */
const ASCII = /(?:\w|(?<=[A-Za-z])['.:](?=[A-Za-z])|(?<=\d)['.,;](?=\d))+/g;

const LETTER = '[\\p{Alphabetic}--[\\p{Ideographic}\\p{Script=Hiragana}\\p{Script=Katakana}]]';
const EXTEND = '[\\p{M}[\\p{Cf}--\u200b]]*';
const PICTURE = '\\p{Extended_Pictographic}[\\p{M}\\p{Cf}\\p{Emoji_Modifier}]*';
const BETWEEN_LETTERS = "['.:\u00b7\u0387\u055f\u05f4\u2018\u2019\u2024\u2027\ufe13\ufe52\ufe55\uff07\uff0e\uff1a]";
const BETWEEN_DIGITS =
  "['.,;\u037e\u0589\u060c\u060d\u066c\u07f8\u2018\u2019\u2024\u2044\ufe10\ufe14\ufe50\ufe52\ufe54\uff07\uff0c\uff0e\uff1b]";
const UNICODE = new RegExp(
  `${PICTURE}(?:(?<=\u200d)${PICTURE})*|[\\p{Ideographic}\\p{Script=Hiragana}]${EXTEND}|(?:[\\p{Script=Katakana}\u30fc]${EXTEND})+|` +
    `(?:${LETTER}${EXTEND}|\\p{Nd}${EXTEND}|\\p{Pc}|(?<=${LETTER}${EXTEND})${BETWEEN_LETTERS}(?=${LETTER})|` +
    `(?<=\\p{Nd}${EXTEND})${BETWEEN_DIGITS}(?=\\p{Nd}))+`,
  'gv',
);

const NON_ASCII = /\P{ASCII}/u;
const HAS_CONTENT = /[\p{Alphabetic}\p{Nd}]/u;
const POSSESSIVE = /['\u2019\uff07][sS]$/;

/** Splits a text into its words, unchanged and in order. */
export function tokenize(text: string): string[] {
  const words = text.match(NON_ASCII.test(text) ? UNICODE : ASCII) ?? [];
  const kept = words.filter((word) => !word.startsWith('_') || HAS_CONTENT.test(word));
  if (kept.every((word) => word.length <= LONGEST)) return kept;
  return kept.flatMap((word) =>
    Array.from({ length: Math.ceil(word.length / LONGEST) }, (_, i) => word.slice(i * LONGEST, (i + 1) * LONGEST)),
  );
}

/** Lower-cases character by character, as Lucene does: a final sigma stays σ, İ becomes i. */
const lowerCase = (word: string): string =>
  NON_ASCII.test(word)
    ? word.replace(/./gsu, (sign) => String.fromCodePoint(sign.toLowerCase().codePointAt(0)!))
    : word.toLowerCase();

/** Returns a word's term: without a possessive ending, lower-case, stemmed as by Lucene (Porter 1980); `undefined` for a stop word. */
export function termOf(word: string): string | undefined {
  const lower = lowerCase(word.replace(POSSESSIVE, ''));
  if (lower === '' || STOP_WORDS.has(lower)) return undefined;
  return porterStem(lower);
}

/**
 * Returns the terms of a text in order, equal to those of Lucene's `EnglishAnalyzer` (Anserini's default): standard tokens, possessive `'s`
 * removed, lower case, 33 stop words removed, Porter's stems.
 */
export function analyze(text: string): string[] {
  const terms: string[] = [];
  for (const word of tokenize(text)) {
    const term = termOf(word);
    if (term !== undefined) terms.push(term);
  }
  return terms;
}
