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
      '2 fault(s)\n  - sets.0.name: Invalid input: expected string, received number, got 7 (number)\n' +
        '  - depth: expected a number of passages, got something else, got "all" (string)',
    );
  });

  it('give what was expected without introduction', () => {
    expect(issuesOf({ sets: [{ name: 7 }], depth: 'all' }).map(issueExpectation)).toEqual([
      'string',
      'a number of passages',
    ]);
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
