import { z } from 'zod';
import { checked } from './refusal.ts';
import type { Part } from './tokenizer-definition.ts';

/** Options of a `BertNormalizer`. `stripAccents` null means: as `lowercase` says. */
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

export function bertNormalizerOptions(part: Part, file: string): BertNormalizerOptions {
  const options = checked(schema, part, file, 'normalizer');
  return {
    cleanText: options.clean_text,
    chineseChars: options.handle_chinese_chars,
    lowercase: options.lowercase,
    stripAccents: options.strip_accents ?? options.lowercase,
  };
}

/** Control, format, private-use and unpaired characters, NUL and U+FFFD, but not tab, line feed and carriage return. */
const UNWANTED = /(?![\t\n\r])[\p{Cc}\p{Cf}\p{Co}\p{Cs}\ufffd]/gu;
/** The library looks at code units, so ideographs outside the BMP stay unspaced; models were served that way, and so are they here. */
const IDEOGRAPH = /[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]/g;
const ACCENT = /\p{Mn}/gu;

/** Cleans, spaces ideographs, lowers and strips accents: the library's steps in the library's order. */
export function bertNormalize(text: string, options: BertNormalizerOptions): string {
  let result = text;
  if (options.cleanText) result = result.replace(UNWANTED, '').replace(/\s/g, ' ');
  if (options.chineseChars) result = result.replace(IDEOGRAPH, ' $& ');
  // The whole text at once: a capital sigma lowers by what stands beside it.
  if (options.lowercase) result = result.toLowerCase();
  if (options.stripAccents) result = result.normalize('NFD').replace(ACCENT, '');
  return result;
}
