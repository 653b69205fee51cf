import { escaped } from './matches.ts';
import type { AddedToken } from './tokenizer-definition.ts';
import { WORD } from './unicode-text.ts';

/** A part of a text: text between added tokens, or the id of one. */
type Part = string | number;

interface Matcher {
  readonly pattern: RegExp;
  readonly tokens: ReadonlyMap<string, AddedToken>;
}

const STARTS_WITH_WORD = new RegExp(`^[${WORD}]`, 'u');
const ENDS_WITH_WORD = new RegExp(`[${WORD}]$`, 'u');
const BLANK = /\p{White_Space}/u;

/**
 * Finds added tokens (`[MASK]`, `<s>` …) in text, leftmost first, then longest, as the Rust library does. Tokens marked as normalized are
 * searched in normalized text by their normalized form, the others in raw text.
 */
export class AddedTokens {
  readonly #raw: Matcher | undefined;
  readonly #normalized: Matcher | undefined;

  /** @param normalize Null for a tokenizer without a normalizer. */
  constructor(tokens: readonly AddedToken[], normalize: ((text: string) => string) | null) {
    const isNormalized = (token: AddedToken) => token.normalized ?? !token.special;
    this.#raw = matcher(tokens.filter((t) => !isNormalized(t)).map((t) => [t.content, t]));
    this.#normalized = matcher(
      tokens.filter(isNormalized).map((t) => [normalize === null ? t.content : normalize(t.content), t]),
    );
  }

  /** Whether raw text contains an added token. Nearly no text does, so this check saves splitting. */
  occursIn(text: string): boolean {
    return this.#raw?.pattern.test(text) ?? false;
  }

  splitRaw(text: string): Part[] {
    return split(text, this.#raw);
  }

  splitNormalized(text: string): Part[] {
    return split(text, this.#normalized);
  }
}

/** Splits text at a matcher's tokens; no part is an empty text. */
function split(text: string, found: Matcher | undefined): Part[] {
  if (found === undefined || !found.pattern.test(text)) return text === '' ? [] : [text];
  const parts: Part[] = [];
  let done = 0;
  for (const match of text.matchAll(new RegExp(found.pattern, 'g'))) {
    const token = found.tokens.get(match[0])!;
    let [start, end] = [match.index, match.index + match[0].length];
    if (token.single_word && !isSingleWord(text, start, end)) continue;
    // Blanks that the token before took are not taken again.
    if (token.lstrip) while (start > done && BLANK.test(text[start - 1]!)) start--;
    if (token.rstrip) while (end < text.length && BLANK.test(text[end]!)) end++;
    if (done < start) parts.push(text.slice(done, start));
    parts.push(token.id);
    done = end;
  }
  if (done < text.length) parts.push(text.slice(done));
  return parts;
}

function isSingleWord(text: string, start: number, end: number): boolean {
  return (
    !ENDS_WITH_WORD.test(text.slice(Math.max(0, start - 2), start)) && !STARTS_WITH_WORD.test(text.slice(end, end + 2))
  );
}

function matcher(forms: readonly (readonly [string, AddedToken])[]): Matcher | undefined {
  const tokens = new Map(forms.filter(([form]) => form !== ''));
  if (tokens.size === 0) return undefined;
  const longestFirst = [...tokens.keys()].sort((a, b) => b.length - a.length);
  return { tokens, pattern: new RegExp(longestFirst.map(escaped).join('|')) };
}
