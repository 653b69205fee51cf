import type { AddedToken } from './tokenizer-definition.ts';

/**
 * Finds added tokens (`[MASK]`, `<s>` …) in text, leftmost first, then longest. Tokens marked as normalized are searched in normalized
 * text, the others in raw text. `single_word` is ignored, as in the library.
 */
export class AddedTokens {
  readonly #byText = new Map<string, AddedToken>();
  readonly #raw: RegExp | undefined;
  readonly #normalized: RegExp | undefined;

  /** @param normalize Null for a tokenizer without a normalizer; all tokens are then searched in raw text. */
  constructor(tokens: readonly AddedToken[], normalize: ((text: string) => string) | null) {
    const raw: string[] = [];
    const normalized: string[] = [];
    for (const token of tokens) {
      this.#byText.set(token.content, token);
      if (normalize !== null && (token.normalized ?? !token.special)) {
        const text = normalize(token.content);
        normalized.push(text);
        this.#byText.set(text, token);
      } else raw.push(token.content);
    }
    this.#raw = alternation(raw);
    this.#normalized = alternation(normalized);
  }

  get(text: string): AddedToken | undefined {
    return this.#byText.get(text);
  }

  /** Whether raw text contains an added token. Nearly no text does, so this check saves splitting. */
  occursIn(text: string): boolean {
    return this.#raw?.test(text) ?? false;
  }

  splitRaw(text: string): string[] {
    return this.#split(text, this.#raw);
  }

  splitNormalized(text: string): string[] {
    return this.#split(text, this.#normalized);
  }

  #split(text: string, pattern: RegExp | undefined): string[] {
    const sections = pattern === undefined ? [text] : text.split(pattern);
    return this.#stripBlanks(sections.filter((s) => s.length > 0));
  }

  /** Removes the blanks next to tokens with `lstrip` or `rstrip`; a section may be empty afterwards. */
  #stripBlanks(sections: string[]): string[] {
    for (let i = 0; i < sections.length; i++) {
      const token = this.#byText.get(sections[i]!);
      if (token?.lstrip && i > 0) sections[i - 1] = sections[i - 1]!.trimEnd();
      if (token?.rstrip && i < sections.length - 1) sections[i + 1] = sections[i + 1]!.trimStart();
    }
    return sections;
  }
}

/** Returns a capturing alternation of the texts, longest first. `split` keeps what a capturing group matches. */
function alternation(texts: readonly string[]): RegExp | undefined {
  const present = [...new Set(texts)].filter((t) => t.length > 0).sort((a, b) => b.length - a.length);
  return present.length === 0 ? undefined : new RegExp(`(${present.map((t) => escaped(t)).join('|')})`);
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}
