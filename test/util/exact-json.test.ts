import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseExact, repeatedKey, sourceOf } from '../../src/util/exact-json.ts';

describe('parseExact', () => {
  it('gives the value of JSON.parse, and every number as it is written', () => {
    const literal = fc.stringMatching(/^-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,2})?$/);
    fc.assert(
      fc.property(fc.array(literal, { minLength: 1 }), fc.string(), (literals, text) => {
        const json = `{ ${JSON.stringify('text')}: ${JSON.stringify(text)}, "list": [${literals.join(' , ')}], "one":\n${literals[0]} }`;
        const value = parseExact(json) as { list: number[]; one: number };
        expect(value).toEqual(JSON.parse(json));
        expect(value.list.map((number, i) => sourceOf(value.list, `${i}`, number))).toEqual(literals);
        expect(sourceOf(value, 'one', value.one)).toBe(literals[0]);
      }),
      { numRuns: 3000 },
    );
  });
});

describe('repeatedKey', () => {
  it.each([
    ['{"a": 1, "b": {"a": 1}, "c": [{"a": 1}, {"a": 2}]}', undefined],
    ['{"a": {"x": 1}, "a": {"y": 1}}', 'a'],
    ['{"q": {"x": 1, "y:\\"{": 2, "y:\\"{": 3}}', 'y:"{'],
    ['{"q": {"é": 1, "\\u00e9": 2}}', 'é'],
    ['[{"a": 1, "a": 1}]', 'a'],
    ['"a:b"', undefined],
  ])('of %s is %s', (text, key) => {
    expect(repeatedKey(text, JSON.parse(text))).toBe(key);
  });

  it('is none in what JSON.stringify writes', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = JSON.stringify(value);
        expect(repeatedKey(text, JSON.parse(text))).toBeUndefined();
      }),
    );
  });
});
