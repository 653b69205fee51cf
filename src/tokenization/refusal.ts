import type { z } from 'zod';
import { describe, WinnowError } from '../errors.ts';
import { valueAt } from '../util/schema-issues.ts';

/** A refusal that names file and field. */
export function refusal(file: string, field: string, expected: string, got: unknown): WinnowError {
  return new WinnowError('invalid_manifest', { file, field, expected, got: describe(got) });
}

/** Parses `value` and turns the first fault into a WinnowError with file and field (below `under`). */
export function checked<S extends z.ZodType>(schema: S, value: unknown, file: string, under = ''): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const expected = 'expected' in issue ? String(issue.expected) : issue.message;
  const field = [under, ...issue.path.map(String)].filter(Boolean).join('.') || '(whole file)';
  throw refusal(file, field, expected, valueAt(value, issue.path));
}
