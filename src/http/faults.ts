import type { z } from 'zod';
import { describe, WinnowError } from '../errors.ts';
import { valueAt } from '../util/schema-issues.ts';

type Issue = z.core.$ZodIssue;

/** `cascade[0].keep`; the body itself is `body`. */
export function fieldPath(path: readonly PropertyKey[]): string {
  if (path.length === 0) return 'body';
  return path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text ? `${text}.${String(key)}` : String(key)),
    '',
  );
}

const ARTICLES: Readonly<Record<string, string>> = {
  int: 'an integer',
  array: 'an array',
  object: 'an object',
  nonoptional: 'a value',
};

const unit = (origin: string) => (origin === 'string' ? ' characters' : origin === 'array' ? ' items' : '');

/** What an issue of the validator says was expected, without the words around it. */
function expectation(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return ARTICLES[issue.expected] ?? `a ${issue.expected}`;
    case 'too_small':
      return `at least ${issue.minimum}${unit(issue.origin)}`;
    case 'too_big':
      return `at most ${issue.maximum}${unit(issue.origin)}`;
    case 'invalid_value':
      return `one of ${issue.values.map((value) => JSON.stringify(value)).join(', ')}`;
    case 'unrecognized_keys':
      return 'only the documented fields';
    default:
      // Unions, patterns and custom checks carry their expectation as the message.
      return issue.message;
  }
}

/** The parameters of `invalid_field` for one issue of the validator. */
export function faultOf(issue: Issue, root: unknown): { expected: string; got: string; field: string } {
  const got =
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => `\`${key}\``).join(', ')
      : describe(valueAt(root, issue.path));
  return { expected: expectation(issue), got, field: fieldPath(issue.path) };
}

/**
 * Parses a value of the request by a schema.
 * @throws WinnowError `invalid_field` naming the first fault's field.
 */
export function parseOrRefuse<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new WinnowError('invalid_field', faultOf(parsed.error.issues[0]!, value));
}
