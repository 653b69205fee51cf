import { z } from 'zod';
import { KNOWN_PATTERNS } from './known-patterns.ts';
import { type PatternCost, patternCost } from './pattern-cost.ts';
import { checked, refusal } from './refusal.ts';
import { LARGE_PIECES } from './text-pieces.ts';

type Part = { readonly type: string } & Readonly<Record<string, unknown>>;

/** Rules of normalizer and pre-tokenizer together; the factor by which they may lengthen a text; the power of its length that they may take. */
const MAX_RULES = 64;
const MAX_GROWTH = 32;
const MAX_DEGREE = 2;
/** Pieces of a text, in UTF-16 units, on which the square of the length is still quick. */
const SQUARED_PIECE = 2 ** 14;
const MAX_UNITS_OF_RULE = 4096;

const patternSchema = z.looseObject({
  pattern: z.union([z.looseObject({ String: z.string() }), z.looseObject({ Regex: z.string() })]).nullish(),
  content: z.string().nullish(),
});
const prependSchema = z.looseObject({ prepend: z.string() });
const metaspaceSchema = z.looseObject({ str_rep: z.string().nullish() });
const fixedLengthSchema = z.looseObject({ length: z.int().min(1).default(5) });
const sequenceKeys = { normalizer: 'normalizers', pre_tokenizer: 'pretokenizers' } as const;

/**
 * Checks that normalizer and pre-tokenizer of a definition take bounded time and memory on any text.
 * @returns the largest piece of a text that they may get at once, in UTF-16 units.
 * @throws WinnowError `invalid_manifest`.
 */
export function checkedPiece(parts: Readonly<Record<keyof typeof sequenceKeys, Part | null>>, file: string): number {
  const bounds = new Bounds(file);
  for (const place of ['normalizer', 'pre_tokenizer'] as const)
    if (parts[place]) bounds.add(parts[place], place, place);
  return bounds.largestPiece();
}

class Bounds {
  readonly #file: string;
  #rules = 0;
  #growth = 1;
  #degree = 1;

  constructor(file: string) {
    this.#file = file;
  }

  largestPiece(): number {
    return this.#degree > 1 ? SQUARED_PIECE : Math.max(SQUARED_PIECE, Math.floor(LARGE_PIECES.most / this.#growth));
  }

  add(part: Part, place: keyof typeof sequenceKeys, field: string): void {
    if (part.type === 'Sequence') {
      const steps = part[sequenceKeys[place]];
      // A sequence of another shape is refused where it is made.
      if (Array.isArray(steps))
        for (const [i, step] of steps.entries())
          if (typeof step === 'object' && step !== null) this.add(step, place, `${field}.${sequenceKeys[place]}.${i}`);
      return;
    }
    if (++this.#rules > MAX_RULES)
      throw refusal(this.#file, field, `at most ${MAX_RULES} rules of normalizer and pre-tokenizer`, 'more');
    this.#growth *= this.#growthOf(part, field);
    if (this.#growth > MAX_GROWTH)
      throw refusal(
        this.#file,
        field,
        `rules that lengthen a text at most ${MAX_GROWTH} times`,
        `${this.#growth} times`,
      );
  }

  /** Returns the factor by which a part may lengthen a text. Unicode's own mappings lengthen it at most 18 times, and are not counted. */
  #growthOf(part: Part, field: string): number {
    if (part.type === 'Prepend') return 1 + checked(prependSchema, part, this.#file, field).prepend.length;
    if (part.type === 'Metaspace')
      return Math.max(1, checked(metaspaceSchema, part, this.#file, field).str_rep?.length ?? 1);
    if (part.type === 'FixedLength') checked(fixedLengthSchema, part, this.#file, field);
    if (part.type !== 'Replace' && part.type !== 'Split') return 1;
    const { pattern, content } = checked(patternSchema, part, this.#file, field);
    const shortest = !pattern
      ? 1
      : 'Regex' in pattern
        ? this.#cost(pattern.Regex as string, field).shortest
        : (pattern.String as string).length;
    if (part.type === 'Split' || !content) return 1;
    if (content.length > MAX_UNITS_OF_RULE || /\$[&`'<0-9]/.test(content))
      throw refusal(this.#file, `${field}.content`, 'a plain text', content.slice(0, 80));
    return shortest === 0 ? 1 + content.length : Math.max(1, content.length / shortest);
  }

  #cost(pattern: string, field: string): PatternCost {
    let cost: PatternCost;
    try {
      cost = patternCost(pattern);
    } catch (error) {
      throw refusal(
        this.#file,
        `${field}.pattern`,
        'a pattern that cannot backtrack without bound',
        `${(error as Error).message}: ${pattern.slice(0, 80)}`,
      );
    }
    if (KNOWN_PATTERNS.has(pattern)) return cost;
    if (cost.degree > MAX_DEGREE)
      throw refusal(
        this.#file,
        `${field}.pattern`,
        'at most two repetitions in a branch, one if more follows',
        pattern.slice(0, 80),
      );
    this.#degree = Math.max(this.#degree, cost.degree);
    return cost;
  }
}
