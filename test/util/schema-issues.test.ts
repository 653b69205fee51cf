import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { describeIssues, faultList, issueExpectation, issueField, valueAt } from '../../src/util/schema-issues.ts';

const schema = z.strictObject({
  sets: z.array(z.strictObject({ name: z.string() })),
  depth: z.number('expected a number of passages, got something else'),
});
const issuesOf = (document: unknown) => schema.safeParse(document).error!.issues;

describe('schema issues', () => {
  it('give field, message and value of every fault', () => {
    const document = { sets: [{ name: 7 }], depth: 'all' };
    expect(faultList(describeIssues(issuesOf(document), document, 'suite'))).toBe(
      '2 fault(s)\n  - sets.0.name: expected a string, got 7 (number)\n' +
        '  - depth: expected a number of passages, got "all" (string)',
    );
  });

  it('give what was expected without introduction', () => {
    expect(issuesOf({ sets: [{ name: 7 }], depth: 'all' }).map((issue) => issueExpectation(issue))).toEqual([
      'a string',
      'a number of passages',
    ]);
  });

  it.each<[z.ZodType, unknown, string]>([
    [z.strictObject({ a: z.int().min(1) }), { a: 1.5 }, 'a: expected an integer, got 1.5 (number)'],
    [z.strictObject({ a: z.int().min(1) }), { a: 0 }, 'a: expected at least 1, got 0 (number)'],
    [z.strictObject({ a: z.number().positive() }), { a: 0 }, 'a: expected more than 0, got 0 (number)'],
    [z.strictObject({ a: z.array(z.int()).max(1) }), { a: [1, 2] }, 'a: expected at most 1 items, got an array of 2'],
    [
      z.strictObject({ a: z.enum(['one_two', 'three']) }),
      { a: 'x' },
      'a: expected one of one-two, three, got "x" (string)',
    ],
    [z.strictObject({}), { 'max-lenght': 1 }, 'document: expected only the documented fields, got `max-lenght`'],
    [
      z.union([z.literal('off'), z.strictObject({ a: z.int() })]),
      7,
      'document: expected one of off, or an object, got 7 (number)',
    ],
    [
      z.union([z.literal('off'), z.strictObject({ a: z.int() })]),
      { a: 'x' },
      'document: expected a number in `a`, got object',
    ],
    [
      z.record(z.string().regex(/^a/, 'expected a name with a'), z.int()),
      { b: 1 },
      'b: expected as a key a name with a, got 1 (number)',
    ],
  ])('say what a field of a document should be: %#', (kind, document, line) => {
    expect(describeIssues(kind.safeParse(document).error!.issues, document, 'document')).toEqual([line]);
  });

  it('name the document itself by the given word', () => {
    expect(issueField(issuesOf(7)[0]!, 'suite')).toBe('suite');
  });
});

describe('valueAt', () => {
  it('follows own properties only', () => {
    expect(valueAt({ a: [{ b: 1 }] }, ['a', 0, 'b'])).toBe(1);
    expect(valueAt({ a: 1 }, ['a', 'b', 'c'])).toBeUndefined();
    expect(valueAt({}, ['constructor', 'name'])).toBeUndefined();
  });
});
