import type { AddedToken } from './tokenizer-definition.ts';

/**
 * Finds added tokens (`[MASK]`, `<s>` …) in text: leftmost, then longest. Those marked as normalized are looked for behind the normalizer,
 * the others before it. `single_word` is not looked at: the library ignores it too.
 */
export class AddedTokens {
  readonly #byText = new Map<string, AddedToken>();
  readonly #raw: RegExp | undefined;
  readonly #normalized: RegExp | undefined;

  /** @param normalize null where the tokenizer has no normalizer: then all tokens are looked for in the raw text. */
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
    this.#raw = anyOf(raw);
    this.#normalized = anyOf(normalized);
  }

  get(text: string): AddedToken | undefined {
    return this.#byText.get(text);
  }

  /** Whether raw text has to be split at all: the quick way out for nearly every text. */
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
    return this.#trimmed(sections.filter((s) => s.length > 0));
  }

  /** `lstrip` and `rstrip` of a token eat the blanks beside it; a section may be empty afterwards. */
  #trimmed(sections: string[]): string[] {
    for (let i = 0; i < sections.length; i++) {
      const token = this.#byText.get(sections[i]!);
      if (token?.lstrip && i > 0) sections[i - 1] = sections[i - 1]!.trimEnd();
      if (token?.rstrip && i < sections.length - 1) sections[i + 1] = sections[i + 1]!.trimStart();
    }
    return sections;
  }
}

/** One capturing alternation, longest first; `split` then keeps what it matched. */
function anyOf(texts: readonly string[]): RegExp | undefined {
  const present = [...new Set(texts)].filter((t) => t.length > 0).sort((a, b) => b.length - a.length);
  return present.length === 0 ? undefined : new RegExp(`(${present.map((t) => escaped(t)).join('|')})`);
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}
