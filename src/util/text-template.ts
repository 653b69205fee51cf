import { z } from 'zod';

/*
 * How a decoder's query and passage become one text: prefix, body, suffix. The schema is that of `template` in model.json. Known templates
 * are facts of the models' cards.
 */

const MOST = 10_000;
const PLACEHOLDERS = ['{instruction}', '{query}', '{document}'] as const;

/** Returns what is wrong with a body; undefined if nothing is. */
function faultOf(body: string): string | undefined {
  const counts = PLACEHOLDERS.map((name) => body.split(name).length - 1);
  if (counts[1] !== 1 || counts[2] !== 1 || counts[0]! > 1)
    return 'expected {query} and {document} once each, and {instruction} at most once';
  const [instruction, query, passage] = PLACEHOLDERS.map((name) => body.indexOf(name));
  return query! > passage! || instruction! > passage!
    ? 'expected {query} and {instruction} before {document}'
    : undefined;
}

export const templateSchema = z.strictObject({
  /** Text before the body, such as the system message. Never cut. */
  prefix: z.string().max(MOST).default(''),
  /** Text with `{query}` and then `{document}`, and perhaps `{instruction}` before that. */
  body: z
    .string()
    .max(MOST)
    .superRefine((body, context) => {
      const message = faultOf(body);
      if (message !== undefined) context.addIssue({ code: 'custom', message });
    }),
  /** Text after the body. Never cut. */
  suffix: z.string().max(MOST).default(''),
  /** The instruction where a request has none. Without either, the line with `{instruction}` is left out. */
  instruction: z.string().max(MOST).optional(),
});

/** How query and passage become text. */
export type TextTemplate = Readonly<z.infer<typeof templateSchema>>;

/** Whether requests may bring an instruction. */
export const takesInstruction = ({ body }: Pick<TextTemplate, 'body'>): boolean => body.includes('{instruction}');

/** The texts of a row, in order. Those of the template are never cut. */
export interface RowTexts {
  readonly prefix: string;
  /** Text between prefix and query, with the instruction. */
  readonly before: string;
  readonly query: string;
  /** Text between query and passage. */
  readonly middle: string;
  /** What stands before every passage and belongs to its first token: a space, or nothing. */
  readonly space: string;
  /** Text between passage and suffix. */
  readonly after: string;
  readonly suffix: string;
}

/**
 * Fills in query and instruction. A single space before a placeholder goes with what follows it, because byte-level tokenizers make one token
 * of a space and the word after it.
 */
export function rowTexts(template: TextTemplate, query: string, instruction: string | undefined): RowTexts {
  const given = instruction || template.instruction;
  const body = given === undefined ? withoutInstruction(template.body) : template.body;
  const [head, tail] = parted(body, '{document}');
  const [before, middle] = parted(head, '{query}');
  const [opened, leading] = spaced(before);
  const [closed, space] = spaced(middle);
  return {
    prefix: template.prefix,
    before: opened.replace('{instruction}', () => given ?? ''),
    query: leading + query,
    middle: closed.replace('{instruction}', () => given ?? ''),
    space,
    after: tail,
    suffix: template.suffix,
  };
}

/** Leaves out the line that holds `{instruction}`. */
const withoutInstruction = (body: string): string =>
  body.replace(/[^\n]*\{instruction\}(?:(?!\{query\})[^\n])*\n?/, '');

function parted(text: string, at: string): readonly [string, string] {
  const place = text.indexOf(at);
  return [text.slice(0, place), text.slice(place + at.length)];
}

const spaced = (text: string): readonly [string, string] =>
  / $/.test(text) && !/\s $/.test(text) ? [text.slice(0, -1), ' '] : [text, ''];
