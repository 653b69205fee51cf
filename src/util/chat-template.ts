import { WinnowError } from '../errors.ts';
import { readRendered } from './rendered-template.ts';
import { type TextTemplate, templateSchema } from './text-template.ts';

/*
 * Chat templates of re-rankers, as sentence-transformers and vLLM read them: the roles `query`, `document` and `system` (the instruction) stand
 * in one text. Those of text and such expressions are read as they are written; those with statements are rendered.
 */

/** A dash takes the white space beside it away. */
const EXPRESSION = /(?:\s*\{\{-|\{\{)([\s\S]*?)(?:-\}\}\s*|\}\})/g;
const ROLE = /["'](query|document|system)["']/;
const DEFAULT = /default\(\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')/;

const PLACEHOLDER: Readonly<Record<string, string>> = {
  query: '{query}',
  document: '{document}',
  system: '{instruction}',
};

const NEWLINE = /\\n/g;

/** Filters of expressions that pick a message by its role, and take its text as it is. */
const PICKING = new Set(['selectattr', 'map', 'list', 'first', 'last', 'default']);

const filtersOf = (expression: string): readonly string[] =>
  [...expression.replaceAll(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/g, '').matchAll(/\|\s*(\w+)/g)].map(
    (match) => match[1]!,
  );

function refuse(file: string, got: string): never {
  const expected = 'text that shows the messages of the roles query and document; or state `template` in model.json';
  throw new WinnowError('invalid_manifest', { file, field: 'chat_template', expected, got });
}

/** Names and texts of special tokens, which statements may print. */
type SpecialTokens = Readonly<Record<string, string>>;

/**
 * Returns the template that a chat template means; undefined for one that is not made for queries and documents.
 * @param prompt What stands as the instruction of every request; undefined without one.
 * @throws WinnowError `invalid_manifest` for one that is, and does not give one text with query and document in this order.
 */
export function readChatTemplate(
  source: string,
  file = 'chat_template.jinja',
  { prompt, tokens = {} }: { readonly prompt?: string | undefined; readonly tokens?: SpecialTokens } = {},
): TextTemplate | undefined {
  const text = source.replaceAll(/\{#[\s\S]*?#\}/g, '').replace(/\n$/, '');
  if (!['query', 'document'].every((role) => new RegExp(`["']${role}["']`).test(text))) return undefined;
  if (text.includes('{%')) {
    const found = readRendered(source, prompt, tokens);
    if ('fault' in found) return refuse(file, found.fault);
    return parts(found.text, found.instruction) ?? refuse(file, ORDER);
  }
  let instruction: string | undefined;
  const body = text.replaceAll(EXPRESSION, (_, expression: string) => {
    const role = ROLE.exec(expression)?.[1];
    const shown = `{{${expression.slice(0, 80)}}}`;
    const filters = filtersOf(expression);
    if (role === undefined || filters.some((name) => !PICKING.has(name))) return refuse(file, shown);
    const stated = DEFAULT.exec(expression);
    if (filters.includes('default') && (!stated || role !== 'system')) return refuse(file, shown);
    // Without a default, nothing stands where no message has the role.
    if (role === 'system') instruction = (stated?.[1] ?? stated?.[2] ?? '').replaceAll(NEWLINE, '\n');
    return PLACEHOLDER[role]!;
  });
  return parts(body, instruction) ?? refuse(file, ORDER);
}

const ORDER = 'query, document or system twice, none of them, or in another order';

/** Splits a whole text into prefix, body and suffix: the body is from the first line with a placeholder to the document. */
function parts(text: string, instruction: string | undefined): TextTemplate | undefined {
  if (Object.values(PLACEHOLDER).some((p) => text.split(p).length > 2)) return undefined;
  const first = Math.min(
    ...Object.values(PLACEHOLDER)
      .map((p) => text.indexOf(p))
      .filter((at) => at >= 0),
  );
  const end = text.indexOf('{document}') + '{document}'.length;
  const start = text.lastIndexOf('\n', first) + 1;
  const found = templateSchema.safeParse({
    prefix: text.slice(0, start),
    body: text.slice(start, end),
    suffix: text.slice(end),
    ...(instruction === undefined ? {} : { instruction }),
  });
  return found.success ? found.data : undefined;
}
