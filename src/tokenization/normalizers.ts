import { z } from 'zod';
import { CharsMap } from './charsmap.ts';
import { library } from './library-encoder.ts';
import { checked, refusal } from './refusal.ts';
import { streamSafe } from './stream-safe.ts';
import type { Part } from './tokenizer-definition.ts';

export type Normalize = (text: string) => string;

type Rule = (part: Part, file: string) => Normalize;

const sequenceSchema = z.looseObject({ normalizers: z.array(z.looseObject({ type: z.string() })) });
const precompiledSchema = z.looseObject({ precompiled_charsmap: z.string().nullish() });
const replaceSchema = z.looseObject({
  type: z.literal('Replace'),
  pattern: z.union([z.object({ String: z.string() }), z.object({ Regex: z.string() })]),
  content: z.string(),
});
const prependSchema = z.looseObject({ type: z.literal('Prepend'), prepend: z.string() });
const stripSchema = z.looseObject({
  type: z.literal('Strip'),
  strip_left: z.boolean().default(true),
  strip_right: z.boolean().default(true),
});

const byLibrary = (normalizer: { normalize(text: string): string }): Normalize => normalizer.normalize.bind(normalizer);
const inForm =
  (form: 'NFC' | 'NFD' | 'NFKC' | 'NFKD'): Normalize =>
  (text) =>
    streamSafe(text).normalize(form);

/**
 * One rule for each type of normalizer. `Precompiled` is our own, because the library replaces SentencePiece's map by NFKC, which gives other
 * ids for a few characters. The Unicode forms take stream-safe text. All others use the library.
 */
const RULES: Readonly<Record<string, Rule>> = {
  Sequence(part, file) {
    const { normalizers } = checked(sequenceSchema, part, file, 'normalizer');
    const steps = normalizers.map((p) => normalizerFor(p, file));
    return (text) => steps.reduce((t, step) => step(t), text);
  },
  Precompiled(part, file) {
    const { precompiled_charsmap: map } = checked(precompiledSchema, part, file, 'normalizer');
    if (!map) return (text) => text;
    const chars = new CharsMap(Buffer.from(map, 'base64'), file, 'normalizer.precompiled_charsmap');
    return (text) => chars.apply(text);
  },
  Replace: (part, file) => byLibrary(new library.ReplaceNormalizer(checked(replaceSchema, part, file, 'normalizer'))),
  Prepend: (part, file) => byLibrary(new library.PrependNormalizer(checked(prependSchema, part, file, 'normalizer'))),
  Strip: (part, file) => byLibrary(new library.StripNormalizer(checked(stripSchema, part, file, 'normalizer'))),
  StripAccents: () => byLibrary(new library.StripAccentsNormalizer({ type: 'StripAccents' })),
  Lowercase: () => byLibrary(new library.LowercaseNormalizer({ type: 'Lowercase' })),
  NFC: () => inForm('NFC'),
  NFD: () => inForm('NFD'),
  NFKC: () => inForm('NFKC'),
  NFKD: () => inForm('NFKD'),
};

/** Creates a normalizer. @throws WinnowError `invalid_manifest` for an unknown type or a missing setting. */
export function normalizerFor(part: Part, file: string): Normalize {
  const rule = RULES[part.type];
  if (rule === undefined) throw refusal(file, 'normalizer.type', Object.keys(RULES).join(', '), part.type);
  return rule(part, file);
}
