import { z } from 'zod';
import { checked } from './refusal.ts';
import { streamSafe } from './stream-safe.ts';
import type { Part } from './tokenizer-definition.ts';

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

/** Control, format, private-use and unpaired characters, NUL and U+FFFD, but not tab, line feed and carriage return. */
const UNWANTED = /(?![\t\n\r])[\p{Cc}\p{Cf}\p{Co}\p{Cs}\ufffd]/gu;
/** Ideographs inside the BMP only: the library looks at code units, and ids must be those of the library. */
const IDEOGRAPH = /[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]/g;
const ACCENT = /\p{Mn}/gu;

/** Removes unwanted characters, puts blanks around ideographs, lowercases and strips accents, in the library's order. */
export function bertNormalize(text: string, options: BertNormalizerOptions): string {
  let result = text;
  if (options.cleanText) result = result.replace(UNWANTED, '').replace(/\s/g, ' ');
  if (options.chineseChars) result = result.replace(IDEOGRAPH, ' $& ');
  // The whole text at once: how a capital sigma is lowercased depends on its neighbors.
  if (options.lowercase) result = result.toLowerCase();
  if (options.stripAccents) result = streamSafe(result).normalize('NFD').replace(ACCENT, '');
  return result;
}
