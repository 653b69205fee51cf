import { type TextTemplate, templateSchema } from './text-template.ts';

/*
 * Chat templates of re-rankers, as sentence-transformers and vLLM read them: the roles `query`, `document` and `system` (the instruction) stand
 * in one text. Only templates of text and such expressions are read; one with statements is a conversation's, or needs a program.
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

/** Returns the template that a chat template means; undefined for one that is not made for queries and documents. */
export function readChatTemplate(source: string): TextTemplate | undefined {
  const text = source.replaceAll(/\{#[\s\S]*?#\}/g, '').replace(/\n$/, '');
  if (text.includes('{%')) return undefined;
  let instruction: string | undefined;
  let isRead = true;
  // Braces of the text itself would be taken for placeholders.
  const body = text.replaceAll(EXPRESSION, (_, expression: string) => {
    const role = ROLE.exec(expression)?.[1];
    if (role === undefined) isRead = false;
    const stated = role === 'system' ? DEFAULT.exec(expression) : undefined;
    if (stated) instruction = (stated[1] ?? stated[2])!.replaceAll(NEWLINE, '\n');
    return PLACEHOLDER[role ?? ''] ?? '';
  });
  if (!isRead) return undefined;
  return parts(body, instruction);
}

/** Splits a whole text into prefix, body and suffix: the body is from the first line with a placeholder to the document. */
function parts(text: string, instruction: string | undefined): TextTemplate | undefined {
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
