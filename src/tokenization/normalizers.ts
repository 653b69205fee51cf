import { z } from 'zod';
import { bertNormalize, bertNormalizerOptions } from './bert-normalizer.ts';
import { inByteCharacters } from './byte-characters.ts';
import { COMBINING_MARKS, DROPPED_BY_NMT } from './character-classes.ts';
import { CharsMap } from './charsmap.ts';
import { finderOf } from './matches.ts';
import { checked, refusal } from './refusal.ts';
import type { Part } from './tokenizer-definition.ts';
import { inForm, lowercase } from './unicode-text.ts';

export type Normalize = (text: string) => string;

type Rule = (part: Part, file: string) => Normalize;

const sequenceSchema = z.looseObject({ normalizers: z.array(z.looseObject({ type: z.string() })) });
const precompiledSchema = z.looseObject({ precompiled_charsmap: z.string().nullish() });
const replaceSchema = z.looseObject({ pattern: z.unknown(), content: z.string() });
const prependSchema = z.looseObject({ prepend: z.string() });
const stripSchema = z.looseObject({ strip_left: z.boolean().default(true), strip_right: z.boolean().default(true) });

const COMBINING_MARK = new RegExp(`[${COMBINING_MARKS}]`, 'gu');
const LEADING = /^\p{White_Space}+/u;
/** What Nmt removes, and what it turns into a blank. */
const NMT_DROPS = new RegExp(`[${DROPPED_BY_NMT}]`, 'gu');
const NMT_BLANKS = /[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/g;

/** One rule for each normalizer of the Rust library, whose results they give. */
const RULES: Readonly<Record<string, Rule>> = {
  Sequence(part, file) {
    const { normalizers } = checked(sequenceSchema, part, file, 'normalizer');
    const steps = normalizers.map((p) => normalizerFor(p, file));
    return (text) => steps.reduce((t, step) => step(t), text);
  },
  BertNormalizer(part, file) {
    const options = bertNormalizerOptions(part, file);
    return (text) => bertNormalize(text, options);
  },
  Precompiled(part, file) {
    const { precompiled_charsmap: map } = checked(precompiledSchema, part, file, 'normalizer');
    if (!map) return (text) => text;
    const chars = new CharsMap(Buffer.from(map, 'base64'), file, 'normalizer.precompiled_charsmap');
    return (text) => chars.apply(text);
  },
  Replace(part, file) {
    const { pattern, content } = checked(replaceSchema, part, file, 'normalizer');
    const find = finderOf(pattern, file, 'normalizer.pattern');
    return (text) => {
      let result = '';
      let done = 0;
      for (const [start, end] of find(text)) {
        result += text.slice(done, start) + content;
        done = end;
      }
      return done === 0 && result === '' ? text : result + text.slice(done);
    };
  },
  Prepend(part, file) {
    const { prepend } = checked(prependSchema, part, file, 'normalizer');
    return (text) => (text === '' ? text : prepend + text);
  },
  Strip(part, file) {
    const { strip_left, strip_right } = checked(stripSchema, part, file, 'normalizer');
    return (text) => {
      const left = strip_left ? text.replace(LEADING, '') : text;
      return strip_right ? withoutTrailingBlanks(left) : left;
    };
  },
  StripAccents: () => (text) => text.replace(COMBINING_MARK, ''),
  Lowercase: () => lowercase,
  NFC: () => (text) => inForm(text, 'NFC'),
  NFD: () => (text) => inForm(text, 'NFD'),
  NFKC: () => (text) => inForm(text, 'NFKC'),
  NFKD: () => (text) => inForm(text, 'NFKD'),
  Nmt: () => (text) => text.replace(NMT_DROPS, '').replace(NMT_BLANKS, ' '),
  ByteLevel: () => inByteCharacters,
};

/** Creates a normalizer. @throws WinnowError `invalid_manifest` for an unknown type or a missing setting. */
export function normalizerFor(part: Part, file: string): Normalize {
  const rule = RULES[part.type];
  if (rule === undefined) throw refusal(file, 'normalizer.type', Object.keys(RULES).join(', '), part.type);
  return rule(part, file);
}

const BLANK = /\p{White_Space}/u;

/** Returns a text without the blanks at its end; a pattern for them would try each run of blanks inside. */
function withoutTrailingBlanks(text: string): string {
  let end = text.length;
  while (end > 0 && BLANK.test(text[end - 1]!)) end--;
  return text.slice(0, end);
}
