import { z } from 'zod';
import { library } from './library-encoder.ts';
import { checked, refusal } from './refusal.ts';
import type { Part } from './tokenizer-definition.ts';

/** Splits normalized text into what the model sees piece by piece. `section` counts the stretches between added tokens. */
export type PreTokenize = (text: string, section: number) => readonly string[];

const metaspaceSchema = z.looseObject({
  type: z.literal('Metaspace'),
  replacement: z.string().length(1).default('\u2581'),
  add_prefix_space: z.boolean().nullish(),
  prepend_scheme: z.enum(['always', 'never', 'first']).nullish(),
  split: z.boolean().default(true),
});
const sequenceSchema = z.looseObject({ pretokenizers: z.array(z.looseObject({ type: z.string() })) });

/** Files from before `prepend_scheme` said the same by `add_prefix_space`. */
function modern(part: Part, file: string): Part {
  if (part.type === 'Sequence') {
    const { pretokenizers } = checked(sequenceSchema, part, file, 'pre_tokenizer');
    return { type: 'Sequence', pretokenizers: pretokenizers.map((p) => modern(p, file)) };
  }
  if (part.type !== 'Metaspace') return part;
  const { add_prefix_space, prepend_scheme, ...rest } = checked(metaspaceSchema, part, file, 'pre_tokenizer');
  return { ...rest, prepend_scheme: prepend_scheme ?? (add_prefix_space === false ? 'never' : 'always') };
}

/** The blank of a Metaspace that cuts text into words; the library leaves the cutting out. */
function wordStart(part: Part): string | undefined {
  if (part.type === 'Sequence') return (part.pretokenizers as Part[]).map(wordStart).find((s) => s !== undefined);
  return part.type === 'Metaspace' && part.split === true ? (part.replacement as string) : undefined;
}

/**
 * The library's pre-tokenizer, with words cut apart where a Metaspace asks for it.
 * @throws WinnowError `invalid_manifest` where the library does not know it.
 */
export function preTokenizerFor(part: Part | null, file: string): PreTokenize {
  if (part === null) return (text) => [text];
  const known = modern(part, file);
  const cut = wordStart(known);
  const splitter = libraryPreTokenizer(known, file);
  const split = (text: string, section: number) => splitter.pre_tokenize(text, { section_index: section });
  if (cut === undefined) return split;
  const before = new RegExp(`(?=${cut.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')})`);
  return (text, section) => split(text, section).flatMap((piece) => piece.split(before));
}

function libraryPreTokenizer(part: Part, file: string) {
  try {
    return new library.SequencePreTokenizer({ type: 'Sequence', pretokenizers: [part] });
  } catch (error) {
    throw refusal(file, 'pre_tokenizer', 'one that the tokenizer library knows', String(error));
  }
}
