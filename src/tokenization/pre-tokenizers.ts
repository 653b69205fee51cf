import { z } from 'zod';
import { library } from './library-encoder.ts';
import { checked, refusal } from './refusal.ts';
import type { Part } from './tokenizer-definition.ts';

/** Splits normalized text into pre-tokens. `section` is the index of the text among the sections between added tokens. */
export type PreTokenize = (text: string, section: number) => readonly string[];

const metaspaceSchema = z.looseObject({
  type: z.literal('Metaspace'),
  replacement: z.string().length(1).default('\u2581'),
  add_prefix_space: z.boolean().nullish(),
  prepend_scheme: z.enum(['always', 'never', 'first']).nullish(),
  split: z.boolean().default(true),
});
const sequenceSchema = z.looseObject({ pretokenizers: z.array(z.looseObject({ type: z.string() })) });

/** Replaces `add_prefix_space`, which older files use, by `prepend_scheme`. */
function withPrependScheme(part: Part, file: string): Part {
  if (part.type === 'Sequence') {
    const { pretokenizers } = checked(sequenceSchema, part, file, 'pre_tokenizer');
    return { type: 'Sequence', pretokenizers: pretokenizers.map((p) => withPrependScheme(p, file)) };
  }
  if (part.type !== 'Metaspace') return part;
  const { add_prefix_space, prepend_scheme, ...rest } = checked(metaspaceSchema, part, file, 'pre_tokenizer');
  return { ...rest, prepend_scheme: prepend_scheme ?? (add_prefix_space === false ? 'never' : 'always') };
}

/** Returns the character at which a Metaspace splits text into words; the library does not split. */
function splitCharacter(part: Part): string | undefined {
  if (part.type === 'Sequence') return (part.pretokenizers as Part[]).map(splitCharacter).find((s) => s !== undefined);
  return part.type === 'Metaspace' && part.split === true ? (part.replacement as string) : undefined;
}

/**
 * Creates the library's pre-tokenizer, and splits words if a Metaspace says so.
 * @throws WinnowError `invalid_manifest` for a pre-tokenizer that the library does not know.
 */
export function preTokenizerFor(part: Part | null, file: string): PreTokenize {
  if (part === null) return (text) => [text];
  const known = withPrependScheme(part, file);
  const character = splitCharacter(known);
  const preTokenizer = libraryPreTokenizer(known, file);
  const preTokenize = (text: string, section: number) => preTokenizer.pre_tokenize(text, { section_index: section });
  if (character === undefined) return preTokenize;
  const before = new RegExp(`(?=${character.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')})`);
  return (text, section) => preTokenize(text, section).flatMap((piece) => piece.split(before));
}

function libraryPreTokenizer(part: Part, file: string) {
  try {
    return new library.SequencePreTokenizer({ type: 'Sequence', pretokenizers: [part] });
  } catch (error) {
    throw refusal(file, 'pre_tokenizer', 'one that the tokenizer library knows', String(error));
  }
}
