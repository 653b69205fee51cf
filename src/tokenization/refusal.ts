import type { z } from 'zod';
import { describe, WinnowError } from '../errors.ts';
import { issueExpectation, issueFinding } from '../util/schema-issues.ts';

/** Creates an `invalid_manifest` error that names file and field. */
export function refusal(file: string, field: string, expected: string, got: unknown): WinnowError {
  return new WinnowError('invalid_manifest', { file, field, expected, got: describe(got) });
}

/**
 * Parses `value` by a schema. `under` is the field of the value in the file. @throws WinnowError `invalid_manifest` for the first fault.
 */
export function checked<S extends z.ZodType>(schema: S, value: unknown, file: string, under = ''): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const field = [under, ...issue.path.map(String)].filter(Boolean).join('.') || '(whole file)';
  throw new WinnowError('invalid_manifest', {
    file,
    field,
    expected: issueExpectation(issue),
    got: issueFinding(issue, value),
  });
}
