import type { z } from 'zod';
import { describe } from '../errors.ts';

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

/** Returns what an issue expected, without the words that introduce it in messages of zod and of our own schemas. */
export const issueExpectation = ({ message }: Issue): string =>
  message.replace(/^(?:Invalid input: )?expected /, '').replace(/, (?:got|received) .*$/, '');

/** Returns one line for each issue of a document: field, message, and the value that was found. */
export function describeIssues(issues: readonly Issue[], document: unknown, root: string): readonly string[] {
  return issues.map(
    (issue) => `${issueField(issue, root)}: ${issue.message}, got ${describe(valueAt(document, issue.path))}`,
  );
}

/** Formats faults as `n fault(s)` and an indented line for each. */
export function faultList(faults: readonly string[]): string {
  return `${faults.length} fault(s)\n${faults.map((fault) => `  - ${fault}`).join('\n')}`;
}
