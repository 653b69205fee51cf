import { z } from 'zod';
import { inByteCharacters } from './byte-characters.ts';
import { MARKS } from './character-classes.ts';
import { byRegExp, type Find, finderOf } from './matches.ts';
import { checked, refusal } from './refusal.ts';
import type { Part } from './tokenizer-definition.ts';
import { WORD } from './unicode-text.ts';

/** Splits normalized text into pre-tokens. `isFirst`: whether the text is at the beginning of the whole text. */
export type PreTokenize = (text: string, isFirst: boolean) => readonly string[];

type Rule = (part: Part, file: string) => PreTokenize;

const BEHAVIORS = ['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'] as const;
type Behavior = (typeof BEHAVIORS)[number];

const behaviorSchema = z.enum(BEHAVIORS);
const punctuationSchema = z.looseObject({ behavior: behaviorSchema.default('Isolated') });
const splitSchema = z.looseObject({
  pattern: z.unknown(),
  behavior: behaviorSchema,
  invert: z.boolean().default(false),
});
const digitsSchema = z.looseObject({ individual_digits: z.boolean().default(false) });
const delimiterSchema = z.looseObject({ delimiter: z.string().refine((s) => [...s].length === 1, 'one character') });
const fixedLengthSchema = z.looseObject({ length: z.int().min(1).default(5) });
const byteLevelSchema = z.looseObject({
  add_prefix_space: z.boolean().default(false),
  use_regex: z.boolean().default(true),
});
const metaspaceSchema = z.looseObject({
  replacement: z.string().length(1).default('\u2581'),
  add_prefix_space: z.boolean().nullish(),
  prepend_scheme: z.enum(['always', 'never', 'first']).nullish(),
  split: z.boolean().default(true),
});
const sequenceSchema = z.looseObject({ pretokenizers: z.array(z.looseObject({ type: z.string() })) });

/** Words and single punctuation marks of a BertPreTokenizer. */
export const BERT_WORDS = new RegExp(String.raw`[^\p{White_Space}${MARKS}]+|[${MARKS}]`, 'gu');
/** GPT-2's words: English clitics, runs of letters, digits or other marks with an optional blank before, and runs of blanks. */
const BYTE_LEVEL_WORDS =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

const finders = {
  blank: byRegExp(/\p{White_Space}/gu),
  mark: byRegExp(new RegExp(`[${MARKS}]`, 'gu')),
  digit: byRegExp(/\p{N}/gu),
  bert: byRegExp(BERT_WORDS),
  word: byRegExp(new RegExp(String.raw`[${WORD}]+|[^${WORD}\p{White_Space}]+`, 'gu')),
};

const splitter =
  (find: Find, behavior: Behavior, invert = false): PreTokenize =>
  (text) =>
    splitAt(text, find, behavior, invert);

/** One rule for each pre-tokenizer of the Rust library but UnicodeScripts. */
const RULES: Readonly<Record<string, Rule>> = {
  Sequence(part, file) {
    const { pretokenizers } = checked(sequenceSchema, part, file, 'pre_tokenizer');
    return inSequence(pretokenizers.map((p) => ruleFor(p, file)(p, file)));
  },
  BertPreTokenizer: () => splitter(finders.bert, 'Removed', true),
  Whitespace: () => splitter(finders.word, 'Removed', true),
  WhitespaceSplit: () => splitter(finders.blank, 'Removed'),
  Punctuation: (part, file) => splitter(finders.mark, checked(punctuationSchema, part, file, 'pre_tokenizer').behavior),
  Digits(part, file) {
    const { individual_digits } = checked(digitsSchema, part, file, 'pre_tokenizer');
    return splitter(finders.digit, individual_digits ? 'Isolated' : 'Contiguous');
  },
  Split(part, file) {
    const { pattern, behavior, invert } = checked(splitSchema, part, file, 'pre_tokenizer');
    return splitter(finderOf(pattern, file, 'pre_tokenizer.pattern'), behavior, invert);
  },
  CharDelimiterSplit(part, file) {
    const { delimiter } = checked(delimiterSchema, part, file, 'pre_tokenizer');
    return splitter(finderOf({ String: delimiter }, file, 'pre_tokenizer.delimiter'), 'Removed');
  },
  FixedLength(part, file) {
    const { length } = checked(fixedLengthSchema, part, file, 'pre_tokenizer');
    return splitter(byRegExp(new RegExp(`[^]{1,${length}}`, 'gu')), 'Isolated');
  },
  ByteLevel(part, file) {
    const words = byteLevelWords(part, file);
    return (text) => words(text).map(inByteCharacters);
  },
  Metaspace,
};

/** Returns the words of a ByteLevel pre-tokenizer before it writes their bytes as characters. */
export function byteLevelWords(part: Part, file: string): (text: string) => readonly string[] {
  const { add_prefix_space, use_regex } = checked(byteLevelSchema, part, file, 'pre_tokenizer');
  return (text) => {
    const spaced = add_prefix_space && !text.startsWith(' ') ? ` ${text}` : text;
    return use_regex ? (spaced.match(BYTE_LEVEL_WORDS) ?? []) : [spaced];
  };
}

function Metaspace(part: Part, file: string): PreTokenize {
  const { replacement, add_prefix_space, prepend_scheme, split } = checked(
    metaspaceSchema,
    part,
    file,
    'pre_tokenizer',
  );
  const scheme = prepend_scheme ?? (add_prefix_space === false ? 'never' : 'always');
  const words = splitter(finderOf({ String: replacement }, file, 'pre_tokenizer.replacement'), 'MergedWithNext');
  return (text, isFirst) => {
    let marked = text.replaceAll(' ', replacement);
    if (!marked.startsWith(replacement) && (scheme === 'always' || (scheme === 'first' && isFirst)))
      marked = replacement + marked;
    return split ? words(marked, isFirst) : [marked];
  };
}

function inSequence(steps: readonly PreTokenize[]): PreTokenize {
  return (text, isFirst) =>
    steps.reduce<readonly string[]>(
      (pieces, step) => pieces.flatMap((piece, i) => step(piece, isFirst && i === 0 && text.startsWith(piece))),
      [text],
    );
}

/** Whether a part of a text, match or not, joins the part before it. */
const JOINS: Readonly<Record<Behavior, (isMatch: boolean, wasMatch: boolean) => boolean>> = {
  Removed: () => false,
  Isolated: () => false,
  MergedWithPrevious: (isMatch, wasMatch) => isMatch && !wasMatch,
  MergedWithNext: (isMatch, wasMatch) => !isMatch && wasMatch,
  Contiguous: (isMatch, wasMatch) => isMatch === wasMatch,
};

/** Splits a text at matches as the Rust library's behaviors say; pieces are never empty. */
function splitAt(text: string, find: Find, behavior: Behavior, invert: boolean): string[] {
  const joins = JOINS[behavior];
  const pieces: string[] = [];
  let [from, to, wasMatch] = [0, 0, false];
  for (const [start, end, isMatch] of cover(text, find, invert)) {
    if (!joins(isMatch, wasMatch)) {
      if (from < to) pieces.push(text.slice(from, to));
      from = behavior === 'Removed' && isMatch ? end : start;
    }
    to = end;
    wasMatch = isMatch;
  }
  if (from < to) pieces.push(text.slice(from, to));
  return pieces;
}

/** Yields matches and what is between them, in order: start, end, and whether it counts as a match. */
function* cover(text: string, find: Find, invert: boolean): Generator<readonly [number, number, boolean]> {
  let done = 0;
  for (const [start, end] of find(text)) {
    if (done < start) yield [done, start, invert];
    yield [start, end, !invert];
    done = end;
  }
  if (done < text.length) yield [done, text.length, invert];
}

function ruleFor(part: Part, file: string): Rule {
  const rule = RULES[part.type];
  if (rule === undefined) throw refusal(file, 'pre_tokenizer.type', Object.keys(RULES).join(', '), part.type);
  return rule;
}

/** Creates a pre-tokenizer. @throws WinnowError `invalid_manifest` for an unknown type or a missing setting. */
export function preTokenizerFor(part: Part | null, file: string): PreTokenize {
  return part === null ? (text) => [text] : ruleFor(part, file)(part, file);
}
