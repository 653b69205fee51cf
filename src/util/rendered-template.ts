import { compileTemplate, TemplateFault } from './render-template.ts';

/*
 * Reads a chat template with statements by rendering it with stand-ins for the texts, as a flat message or in parts, with an instruction and
 * without one. Two sets of stand-ins show a template that decides by the texts themselves.
 */

interface StandIns {
  readonly query: string;
  readonly document: string;
  readonly system: string;
}

/** Enough for a template that cuts texts or counts their characters. */
const LONG = 'long '.repeat(600);

/** Short texts and long ones of several lines with white space around them, each with a character of a private range at its ends. */
const SETS: readonly [StandIns, StandIns] = [
  { query: '\uE000q\uE001', document: '\uE000d\uE001', system: '\uE000s\uE001' },
  { query: ` \uE002q ${LONG}\n?\uE003 `, document: `\n\uE002d ${LONG}\uE003 `, system: ` \uE002s\n${LONG}\uE003\n` },
];

const PLACEHOLDERS = { query: '{query}', document: '{document}', system: '{instruction}' } as const;

type Render = ReturnType<typeof compileTemplate>;
type Part = (text: string) => unknown;

/** How the content of a message is given: as text, or as a list of parts. */
const FORMS: readonly Part[] = [(text) => text, (text) => [{ type: 'text', text }]];

const times = (text: string, part: string): number => text.split(part).length - 1;

/** Renders with one set of stand-ins, which become placeholders. */
function renderWith(render: Render, form: Part, set: StandIns, tokens: object, isInstructed: boolean): string {
  const roles = [...(isInstructed ? (['system'] as const) : []), 'query', 'document'] as const;
  const messages = roles.map((role) => ({ role, content: form(set[role]) }));
  const text = render({ ...tokens, messages, add_generation_prompt: false });
  return roles.reduce((all, role) => all.replaceAll(set[role], () => PLACEHOLDERS[role]), text);
}

/** Renders with both sets. @throws TemplateFault where the texts themselves change what stands around them. */
function renderBoth(render: Render, form: Part, tokens: object, isInstructed: boolean): string {
  const [first, second] = SETS.map((set) => renderWith(render, form, set, tokens, isInstructed));
  if (first !== second || /[\uE000-\uE003]/.test(first!))
    throw new TemplateFault('a text that depends on what query, document or instruction say');
  return first!;
}

interface Rendered {
  /** The whole text with placeholders. */
  readonly text: string;
  /** What stands in the place of the instruction where there is none. */
  readonly instruction?: string | undefined;
}

const showsBoth = (text: string): boolean =>
  [PLACEHOLDERS.query, PLACEHOLDERS.document].every((p) => times(text, p) === 1);

/** Returns what `work` returns, or the fault it ends with. */
function attempt(work: () => string): string | TemplateFault {
  try {
    return work();
  } catch (error) {
    if (error instanceof TemplateFault) return error;
    throw error;
  }
}

/** Puts together what is rendered with an instruction and without. */
function together(given: string | TemplateFault, bare: string | TemplateFault, hasPrompt: boolean): Rendered {
  const isPlain = typeof given === 'string' && times(given, PLACEHOLDERS.system) === 1;
  if (isPlain && hasPrompt) return { text: given };
  if (typeof bare !== 'string') {
    if (typeof given !== 'string') throw bare;
    throw new TemplateFault(`no text without an instruction (${bare.message})`);
  }
  if (!isPlain) return { text: bare };
  const [head, tail] = given.split(PLACEHOLDERS.system) as [string, string];
  const size = bare.length - head.length - tail.length;
  if (size >= 0 && bare.startsWith(head) && bare.endsWith(tail))
    return { text: given, instruction: bare.slice(head.length, head.length + size) };
  const line = given.split('\n').filter((one) => !one.includes(PLACEHOLDERS.system));
  // Without an instruction its line is left out; where more is, requests cannot bring one.
  return line.join('\n') === bare ? { text: given } : { text: bare };
}

/**
 * Renders a chat template to one text with placeholders.
 * @param prompt What stands as the instruction of every request; undefined without one.
 * @returns the text; or why there is none.
 */
export function readRendered(
  source: string,
  prompt: string | undefined,
  tokens: Readonly<Record<string, string>>,
): Rendered | { readonly fault: string } {
  try {
    const render = compileTemplate(source);
    const texts = FORMS.map((form) => ({
      given: attempt(() => renderBoth(render, form, tokens, true)),
      bare: attempt(() => renderBoth(render, form, tokens, false)),
    }));
    const fits = ({ given, bare }: (typeof texts)[number]) =>
      [given, bare].some((text) => typeof text === 'string' && showsBoth(text));
    const { given, bare } = texts.find(fits) ?? texts[0]!;
    return together(given, bare, prompt !== undefined);
  } catch (error) {
    if (error instanceof TemplateFault) return { fault: error.message };
    throw error;
  }
}
