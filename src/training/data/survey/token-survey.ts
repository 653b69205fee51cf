import type { PairOptions, TextTokenizer } from '../../../tokenization/tokenization-types.ts';
import { createRandom, deriveSeed } from '../../../util/random.ts';
import { type NumberFacts, NumberSummary } from './number-summary.ts';

/** Pairs whose tokens are counted, drawn evenly from all. */
const PAIRS = 4000;
/** Characters of a text that are kept for it. */
const CHARACTERS = 20_000;
/** Different words that are tokenized to find those that cannot be spelled. */
const WORDS = 5000;
/** Examples of a script. */
const EXAMPLES = 3;

/** Writing systems that words are named by, the most common ones; others are `other`. */
const SCRIPTS = [
  'Latin',
  'Cyrillic',
  'Greek',
  'Han',
  'Hiragana',
  'Katakana',
  'Hangul',
  'Arabic',
  'Hebrew',
  'Devanagari',
  'Bengali',
  'Tamil',
  'Telugu',
  'Thai',
  'Georgian',
  'Armenian',
  'Ethiopic',
  'Khmer',
  'Lao',
  'Myanmar',
  'Sinhala',
  'Gujarati',
  'Gurmukhi',
  'Kannada',
  'Malayalam',
] as const;
const PATTERNS = SCRIPTS.map((name) => [name, new RegExp(`\\p{Script=${name}}`, 'u')] as const);

/** Texts that tokenizers write for what they cannot spell. */
const UNKNOWN = new Set(['[UNK]', '<unk>', '<UNK>']);

/** Words of one writing system that the tokenizer has no tokens for. */
interface Unspelled {
  readonly script: string;
  /** Share of the words of this script. */
  readonly share: number;
  readonly examples: readonly string[];
}

export interface TokenFacts {
  /** Pairs that were looked at. */
  readonly pairs: number;
  readonly maxLength: number;
  /** Tokens of the uncut pair. */
  readonly tokens: NumberFacts;
  /** Share of pairs that are cut. */
  readonly cut: number;
  /** Share of the tokens of texts that stand for what the tokenizer cannot spell. */
  readonly unknown: number;
  /** Writing systems with words that it cannot spell, the most frequent first. */
  readonly unspelled: readonly Unspelled[];
}

type Pair = readonly [query: string, passage: string];

/** Draws pairs evenly from a stream of lists, in bounded memory. */
export class PairSample {
  readonly #random = createRandom(deriveSeed(0, 'pairs'));
  readonly #pairs: Pair[] = [];
  #seen = 0;

  add(query: string, passage: string): void {
    this.#seen++;
    const place = this.#pairs.length < PAIRS ? this.#pairs.length : this.#random.below(this.#seen);
    if (place < PAIRS) this.#pairs[place] = [query.slice(0, CHARACTERS), passage.slice(0, CHARACTERS)];
  }

  get pairs(): readonly Pair[] {
    return this.#pairs;
  }
}

const scriptOf = (word: string): string => PATTERNS.find(([, pattern]) => pattern.test(word))?.[0] ?? 'other';

/** Returns the words of the pairs, each once, up to a limit. Characters of scripts without spaces are words. */
function wordsOf(pairs: readonly Pair[]): string[] {
  const words = new Set<string>();
  for (const pair of pairs)
    for (const text of pair)
      for (const [word] of text.matchAll(
        /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]|[\p{L}\p{M}\p{N}]+|[^\s\p{L}\p{M}\p{N}]/gu,
      )) {
        words.add(word);
        if (words.size === WORDS) return [...words];
      }
  return [...words];
}

async function unspelledWords(pairs: readonly Pair[], tokenizer: TextTokenizer): Promise<Unspelled[]> {
  const words = wordsOf(pairs);
  const { texts, spelling } = await tokenizer.tokens(words, { special: false, atMost: Number.MAX_SAFE_INTEGER - 1 });
  const scripts = new Map<string, { words: number; unknown: string[] }>();
  for (const [i, word] of words.entries()) {
    const entry = scripts.get(scriptOf(word)) ?? { words: 0, unknown: [] };
    entry.words++;
    if (texts[i]!.ids.some((id) => UNKNOWN.has(spelling.get(id)!))) entry.unknown.push(word);
    scripts.set(scriptOf(word), entry);
  }
  return [...scripts]
    .filter(([, { unknown }]) => unknown.length > 0)
    .map(([script, { words: all, unknown }]) => ({
      script,
      share: unknown.length / all,
      examples: unknown.slice(0, EXAMPLES),
    }))
    .sort((a, b) => b.share - a.share);
}

/** Counts the tokens of a sample of pairs, those that are cut and those that stand for unknown text. Undefined for no pairs. */
export async function surveyTokens(
  pairs: readonly Pair[],
  tokenizer: TextTokenizer,
  options: PairOptions,
): Promise<TokenFacts | undefined> {
  const lengths = new NumberSummary();
  let cut = 0;
  let unknown = 0;
  let all = 0;
  for (const pair of pairs) {
    const { fullLengths, truncated, queryCut } = await tokenizer.encode(pair[0], [pair[1]], options);
    lengths.add(fullLengths[0]!);
    if (truncated[0] || queryCut[0]! > 0) cut++;
    const { texts, spelling } = await tokenizer.tokens(pair, { special: false, atMost: Number.MAX_SAFE_INTEGER - 1 });
    for (const { ids } of texts) {
      all += ids.length;
      for (const id of ids) if (UNKNOWN.has(spelling.get(id)!)) unknown++;
    }
  }
  const tokens = lengths.facts();
  return (
    tokens && {
      pairs: pairs.length,
      maxLength: options.maxLength,
      tokens,
      cut: cut / pairs.length,
      unknown: unknown / Math.max(1, all),
      unspelled: unknown === 0 ? [] : await unspelledWords(pairs, tokenizer),
    }
  );
}
