import type { z } from 'zod';
import { WinnowError } from '../errors.ts';
import { issueExpectation, issueFinding } from '../util/schema-issues.ts';
import { fieldName } from '../util/spelling.ts';

type Issue = z.core.$ZodIssue;

/** Returns the error of one field of a request. */
export const invalidField = (expected: string, got: string | number, field: string): WinnowError =>
  new WinnowError('invalid_field', { expected, got, field });

/** Returns the place of a field of the request, such as `cascade[0].keep`; `body` for the body itself. */
const fieldPath = (path: readonly PropertyKey[]): string => fieldName(path) || 'body';

/** Returns the parameters of `invalid_field` for one issue of the validator. */
export const faultOf = (issue: Issue, root: unknown): { expected: string; got: string; field: string } => ({
  expected: issueExpectation(issue),
  got: issueFinding(issue, root),
  field: fieldPath(issue.path),
});

/**
 * Parses a value of the request by a schema.
 * @throws WinnowError `invalid_field` naming the first fault's field.
 */
export function parseOrRefuse<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new WinnowError('invalid_field', faultOf(parsed.error.issues[0]!, value));
}
