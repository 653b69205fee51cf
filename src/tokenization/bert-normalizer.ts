import { z } from 'zod';
import { NONSPACING_MARKS, UNWANTED } from './character-classes.ts';
import { checked } from './refusal.ts';
import type { Part } from './tokenizer-definition.ts';
import { inForm, lowercase } from './unicode-text.ts';

/** Options of a `BertNormalizer`. */
export interface BertNormalizerOptions {
  readonly cleanText: boolean;
  readonly chineseChars: boolean;
  readonly lowercase: boolean;
  readonly stripAccents: boolean;
}

const schema = z.looseObject({
  clean_text: z.boolean().default(true),
  handle_chinese_chars: z.boolean().default(true),
  lowercase: z.boolean().default(true),
  strip_accents: z.boolean().nullish(),
});

/** Reads the options of a normalizer; `strip_accents` defaults to `lowercase`. @throws WinnowError `invalid_manifest`. */
export function bertNormalizerOptions(part: Part, file: string): BertNormalizerOptions {
  const options = checked(schema, part, file, 'normalizer');
  return {
    cleanText: options.clean_text,
    chineseChars: options.handle_chinese_chars,
    lowercase: options.lowercase,
    stripAccents: options.strip_accents ?? options.lowercase,
  };
}

const UNWANTED_CHARACTER = new RegExp(`[${UNWANTED}]`, 'gu');
const BLANK = /\p{White_Space}/gu;
/** The blocks that the library takes for ideographs: extension B ends before the characters that Unicode 13 added, C and D have a gap of their own. */
const IDEOGRAPH =
  /[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu;
const ACCENT = new RegExp(`[${NONSPACING_MARKS}]`, 'gu');

/** Removes unwanted characters, puts blanks around ideographs, strips accents and lowercases, in the library's order. */
export function bertNormalize(text: string, options: BertNormalizerOptions): string {
  let result = text;
  if (options.cleanText) result = result.replace(UNWANTED_CHARACTER, '').replace(BLANK, ' ');
  if (options.chineseChars) result = result.replace(IDEOGRAPH, ' $& ');
  if (options.stripAccents) result = inForm(result, 'NFD').replace(ACCENT, '');
  return options.lowercase ? lowercase(result) : result;
}
