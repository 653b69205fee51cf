import type { z } from 'zod';
import { describe, WinnowError } from '../errors.ts';
import { issueExpectation, issueFinding } from '../util/schema-issues.ts';

/** A refusal that names file and field. */
export function refusal(file: string, field: string, expected: string, got: unknown): WinnowError {
  return new WinnowError('invalid_manifest', { file, field, expected, got: describe(got) });
}

/** Parses `value` and turns the first fault into a WinnowError with file and field (below `under`). */
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
