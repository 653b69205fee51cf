import type { z } from 'zod';
import { describe } from '../errors.ts';
import { kebabCase } from './spelling.ts';

type Issue = z.core.$ZodIssue;

/** Returns what stands at `path` in a document; `undefined` where the path leads nowhere. */
export function valueAt(document: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (node, key) =>
      typeof node === 'object' && node !== null && Object.hasOwn(node, key)
        ? (node as Record<PropertyKey, unknown>)[key]
        : undefined,
    document,
  );
}

/** Returns the field of an issue, such as `sets.0.name`; `root` for the document itself. */
export const issueField = ({ path }: Issue, root: string): string => path.map(String).join('.') || root;

const TYPES: Readonly<Record<string, string>> = {
  int: 'an integer',
  array: 'an array',
  object: 'an object',
  record: 'an object',
  nonoptional: 'a value',
};

const unit = (origin: string) => (origin === 'string' ? ' characters' : origin === 'array' ? ' items' : '');

/** What the members of a union expect; a member whose type fits says where the value differs. */
function unionExpectation(errors: readonly (readonly Issue[])[], valueText: (value: string) => string): string {
  const members = errors.map((issues) => issues[0]).filter((issue) => issue !== undefined);
  const inner = members.find(({ path }) => path.length > 0);
  if (inner) return `${issueExpectation(inner, valueText)} in \`${issueField(inner, '')}\``;
  return [...new Set(members.map((issue) => issueExpectation(issue, valueText)))].join(', or ');
}

/**
 * Returns what an issue expected, without the words that introduce it in messages of zod and of our own schemas. `valueText` spells the
 * values there are to choose from.
 */
export function issueExpectation(issue: Issue, valueText: (value: string) => string = JSON.stringify): string {
  const own = /^expected (.*?)(?:, got .*)?$/s.exec(issue.message)?.[1];
  if (own !== undefined) return own;
  switch (issue.code) {
    case 'invalid_type':
      return TYPES[issue.expected] ?? `a ${issue.expected}`;
    case 'too_small':
      return `${issue.inclusive === false ? 'more than' : 'at least'} ${issue.minimum}${unit(issue.origin)}`;
    case 'too_big':
      return `${issue.inclusive === false ? 'less than' : 'at most'} ${issue.maximum}${unit(issue.origin)}`;
    case 'invalid_value':
      return `one of ${issue.values.map((value) => (typeof value === 'string' ? valueText(value) : String(value))).join(', ')}`;
    case 'unrecognized_keys':
      return 'only the documented fields';
    case 'invalid_key':
      return issue.issues[0] ? `as a key ${issueExpectation(issue.issues[0], valueText)}` : issue.message;
    case 'invalid_union':
      return issue.message === 'Invalid input' && issue.errors.length > 0
        ? unionExpectation(issue.errors, valueText)
        : issue.message;
    default:
      // Patterns and custom checks carry their expectation as the message.
      return issue.message;
  }
}

/** Returns what was found where an issue is: the unknown keys, or the value and its type. */
export function issueFinding(issue: Issue, document: unknown): string {
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => `\`${key}\``).join(', ');
  if (issue.code === 'custom' && typeof issue.params?.got === 'string') return issue.params.got;
  return describe(valueAt(document, issue.path));
}

/** Returns one line for each issue of a typed document: field, expectation, and what was found. */
export function describeIssues(issues: readonly Issue[], document: unknown, root: string): readonly string[] {
  return issues.map(
    (issue) =>
      `${issueField(issue, root)}: expected ${issueExpectation(issue, kebabCase)}, got ${issueFinding(issue, document)}`,
  );
}

/** Formats faults as `n fault(s)` and an indented line for each. */
export function faultList(faults: readonly string[]): string {
  return `${faults.length} fault(s)\n${faults.map((fault) => `  - ${fault}`).join('\n')}`;
}
