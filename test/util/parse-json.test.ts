import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseExact, sourceOf } from '../../src/util/exact-json.ts';
import { parseJson } from '../../src/util/parse-json.ts';

const keysOf = (text: string) => Object.keys(Object(parseJson(text)));

/** Keys that need escapes, whole and as prefixes of one another. */
const key = fc.string({ unit: fc.constantFrom('"', '\\', '\n', '\u0000', 'n', 'a', 'key', '0'), maxLength: 3 });
const tree = fc.letrec((tie) => ({
  value: fc.oneof({ maxDepth: 4 }, fc.constantFrom(1, '\\', null, true), tie('list'), tie('object')),
  list: fc.array(tie('value'), { maxLength: 3 }),
  object: fc.dictionary(key, tie('value'), { maxKeys: 5, noNullPrototype: true }),
})).value;

describe('parsing JSON', () => {
  it.each([
    ['a quote', '{"h":[],"\\\\":0}', '{"h":1,"\\"":2}', ['h', '"']],
    ['a line feed', '{"g":[],"\\\\":0}', '{"g":1,"\\n":2}', ['g', '\n']],
    ['a code point', '{"k":[],"\\\\u0041":0}', '{"k":1,"\\u0041bcdef":2}', ['k', 'Abcdef']],
    ['two quotes', '{"":[],"\\\\\\"":[]}', '{"":[],"\\"\\"":[]}', ['', '""']],
  ])('reads %s in a key, whatever was parsed before', (_, before, text, keys) => {
    parseJson(before);
    JSON.parse(before);
    expect(keysOf(text)).toEqual(keys);
  });

  // `JSON.parse` cannot be the judge of this: it is what goes wrong.
  it('gives back what was written', () => {
    fc.assert(
      fc.property(tree, fc.constantFrom('', 1), (value, space) => {
        expect(parseJson(JSON.stringify(value, null, space))).toStrictEqual(value);
      }),
      { numRuns: 3000 },
    );
  });

  it('keeps the order of fields, the last of equal keys, and __proto__ as a field', () => {
    expect(keysOf('{"b":1,"\\"":2,"2":3,"\\u0031":4,"a":5}')).toEqual(['1', '2', 'b', '"', 'a']);
    expect(parseJson('{"é":1,"\\u00e9":2,"é":3,"\\n":4,"\\u000a":5}')).toStrictEqual({ é: 3, '\n': 5 });
    expect(JSON.stringify(parseJson('{"\\n":1,"\\u005f_proto__":{"x":1},"__proto__":2}'))).toBe(
      '{"\\n":1,"__proto__":2}',
    );
  });

  it('remembers how numbers under such keys are written', () => {
    const value = Object(parseExact('{"\\"":1.50,"n":{"\\\\":2e3},"\\u0022":12345678901234567890}'));
    expect(sourceOf(value, '"', value['"'])).toBe('12345678901234567890');
    expect(sourceOf(value.n, '\\', 2000)).toBe('2e3');
  });

  it.each(['{"\\":1}', '{"a\\x":1}', '{"\\"" 1}', '{"\\n":1,}', '{"\\n":01}', '"\\', '{"\\u12":1}'])(
    'refuses %s as JSON.parse does',
    (text) => {
      let reason = '';
      try {
        JSON.parse(text);
      } catch (error) {
        reason = String(error);
      }
      expect(reason).not.toBe('');
      expect(() => parseJson(text)).toThrow(reason.replace('SyntaxError: ', ''));
    },
  );

  it('takes time that is linear in the length of text full of escapes', () => {
    const text = JSON.stringify({ ['\\'.repeat(400_000)]: '\\"'.repeat(400_000), b: ['\n'.repeat(200_000)] });
    expect(keysOf(text)).toHaveLength(2);
  });

  it('is used for all JSON but that of this program itself', () => {
    const src = join(import.meta.dirname, '..', '..', 'src');
    const own = ['util/parse-json.ts', 'inference/host-loop.ts', 'config/load-config.ts'];
    const others = readdirSync(src, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && !file.startsWith('console/web/') && !own.includes(file))
      .filter((file) => readFileSync(join(src, file), 'utf8').includes('JSON.parse('));
    expect(others).toEqual([]);
  });
});
