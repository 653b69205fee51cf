import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { WinnowError } from '../../../src/errors.ts';
import { parseInTurns } from '../../../src/http/json/parse-in-turns.ts';
import { JSON_LIMITS, type JsonLimits, JsonScanner } from '../../../src/http/json/scanner.ts';
import { aroundField, writeJson } from '../../../src/http/json/text.ts';
import { parseJson } from '../../../src/util/parse-json.ts';

const WIDE: JsonLimits = { depth: 64, values: 1e6, keys: 1e6, gap: 1e6 };

/** Scans in chunks of `size` bytes, then parses in pieces of `piece` bytes. */
async function parse(text: string, { size = 7, piece = 16, limits = WIDE } = {}): Promise<unknown> {
  const bytes = Buffer.from(text);
  const scanner = new JsonScanner(limits);
  for (let at = 0; at < bytes.length; at += size) scanner.push(bytes.subarray(at, at + size));
  return parseInTurns(bytes, scanner.end(), piece);
}

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'parsed',
    (error: WinnowError) => error.code,
  );

const sizes = fc.record({ size: fc.integer({ min: 1, max: 40 }), piece: fc.integer({ min: 8, max: 60 }) });
/** Text that is hard for scanners: quotes, backslashes, brackets in strings, characters of two to four bytes. */
const awkward = fc.string({
  unit: fc.constantFrom('"', '\\', '\\\\', '[', '{', ',', ':', '}', ']', 'a', 'ä', '漢', '😀', '\n', ' '),
});
const json = fc.oneof(
  fc.jsonValue({ maxDepth: 5, stringUnit: 'binary' }),
  fc.array(fc.record({ text: awkward, id: fc.integer() }), { maxLength: 30 }),
  fc.dictionary(awkward, fc.array(awkward)),
);
const spacing = fc.constantFrom<string | number>('', 1, '\t', ' \n');

describe('parsing a body in turns', () => {
  it('returns what JSON.parse returns, wherever the text is cut', async () => {
    await fc.assert(
      fc.asyncProperty(json, spacing, sizes, async (value, space, cut) => {
        const text = JSON.stringify(value, null, space);
        expect(await parse(text, cut)).toStrictEqual(parseJson(text));
      }),
      { numRuns: 1500 },
    );
  });

  it('returns escapes of every length, wherever they are cut', async () => {
    const piece = fc.constantFrom('\\u0041', '\\ud83d\\ude00', '\\n', '\\\\', '\\"', 'x', 'é', '\\u005c', '\\/');
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { minLength: 20, maxLength: 200 }), sizes, async (parts, cut) => {
        const text = `{"query":"${parts.join('')}","texts":["${parts.toReversed().join('')}"]}`;
        expect(await parse(text, cut)).toStrictEqual(parseJson(text));
      }),
      { numRuns: 500 },
    );
  });

  it('refuses what JSON.parse refuses, and nothing else', async () => {
    const edits = fc.array(
      fc.record({
        at: fc.nat(10_000),
        put: fc.constantFrom('', '"', '\\', ',', ':', '[', ']', '{', '}', 'x', '1', ' '),
      }),
      { minLength: 1, maxLength: 3 },
    );
    await fc.assert(
      fc.asyncProperty(json, edits, sizes, async (value, changes, cut) => {
        let text = JSON.stringify(value);
        for (const { at, put } of changes) {
          const place = at % (text.length + 1);
          text = text.slice(0, place) + put + text.slice(place + (put === '' ? 1 : 0));
        }
        // Lone surrogates do not survive UTF-8.
        fc.pre(text.isWellFormed());
        let expected: unknown;
        let refused = false;
        try {
          expected = parseJson(text);
        } catch {
          refused = true;
        }
        if (refused) expect(await codeOf(parse(text, cut))).toBe('malformed_json');
        else expect(await parse(text, cut)).toStrictEqual(expected);
      }),
      { numRuns: 3000 },
    );
  });

  it('keeps `__proto__` as a key and the last of equal keys', async () => {
    const text = '{"a":1,"__proto__":{"b":[1,2,3,4,5,6,7,8,9]},"a":{"c":"dddddddddddddddddddddd"}}';
    const value = (await parse(text)) as Record<string, unknown>;
    expect(Object.keys(value)).toEqual(['a', '__proto__']);
    expect(value.a).toEqual({ c: 'd'.repeat(22) });
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
  });

  it('parses a body of many pieces at the default size', async () => {
    const body = { query: 'q', documents: Array.from({ length: 10_000 }, (_, i) => `${i} ${'wörter '.repeat(60)}`) };
    const bytes = Buffer.from(JSON.stringify(body));
    const scanner = new JsonScanner();
    for (let at = 0; at < bytes.length; at += 65_536) scanner.push(bytes.subarray(at, at + 65_536));
    expect(await parseInTurns(bytes, scanner.end())).toEqual(body);
  });
});

/** What an answer writes of a value. */
async function written(value: unknown): Promise<string> {
  const pieces = await writeJson({ head: '', count: 1, item: () => aroundField('{"a":1', 'b', value, '}'), tail: '' });
  return Buffer.concat(pieces).toString().slice('{"a":1,"b":'.length, -1);
}

describe('numbers of a body', () => {
  const literal = fc.stringMatching(/^-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,2})?$/);
  const member = fc.oneof(
    literal,
    fc.constantFrom('true', 'null', '[]', '{}'),
    awkward.map((text) => JSON.stringify(text)),
  );
  const { tree } = fc.letrec<{ tree: string }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4 },
      member,
      fc.array(tie('tree'), { maxLength: 6 }).map((items) => `[${items.join(',')}]`),
      fc
        .array(tie('tree'), { maxLength: 6 })
        .map((items) => `{${items.map((item, i) => `"k${i}":${item}`).join(',')}}`),
    ),
  }));

  it('are written as they came, wherever the text is cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(tree, { minLength: 1 }), sizes, async (trees, cut) => {
        const text = `[${trees.join(',')}]`;
        expect(await written(await parse(text, cut))).toBe(text);
      }),
      { numRuns: 1500 },
    );
  });

  it('are written as they came in long lists and objects, and beside long strings', async () => {
    const numbers = Array.from({ length: 20_000 }, (_, i) => `${i}.0`);
    const texts = [
      `[${numbers.join(',')}]`,
      `{${numbers.map((number, i) => `"k${i}":${number}`).join(',')}}`,
      `{"id":12345678901234567890,"text":"${'x'.repeat(200_000)}","price":1.50,"list":[1e3]}`,
      `["${'x'.repeat(200_000)}",-0]`,
      `[${'1'.repeat(40_000)},2.0]`,
      `{"${'k'.repeat(40_000)}":1.0}`,
    ];
    for (const text of texts) {
      const bytes = Buffer.from(text);
      const scanner = new JsonScanner();
      scanner.push(bytes);
      expect((await written(await parseInTurns(bytes, scanner.end()))) === text).toBe(true);
    }
  });

  it('are those of the last of equal keys', async () => {
    for (const [first, last] of [
      ['1.0', '1'],
      ['1', '1.0'],
      ['1.0', '"1"'],
    ])
      expect(await written(await parse(`{"a":${first},"b":"${'x'.repeat(40)}","a":${last}}`))).toBe(
        `{"a":${last},"b":"${'x'.repeat(40)}"}`,
      );
  });
});

describe('limits of a body', () => {
  it.each([
    ['levels of nesting', '['.repeat(65) + ']'.repeat(65), 'body_too_complex'],
    ['levels of nesting at the limit', '['.repeat(64) + ']'.repeat(64), 'parsed'],
    ['values', `[${'1,'.repeat(500_000)}1]`, 'body_too_complex'],
    ['brackets side by side', `[${'[],'.repeat(250_000)}[]]`, 'body_too_complex'],
    ['keys', `{${'"a":1,'.repeat(250_000)}"a":1}`, 'body_too_complex'],
    ['digits of a number', `[${'1'.repeat(70_000)}]`, 'body_too_complex'],
    ['white space', `[${' '.repeat(70_000)}1]`, 'body_too_complex'],
    ['a bracket that is not closed', '[[1]', 'malformed_json'],
    ['a bracket of the other kind', '[1}', 'malformed_json'],
    ['a string that is not closed', '["a', 'malformed_json'],
  ])('%s', async (_, text, code) => {
    expect(await codeOf(parse(text, { size: 65_536, piece: 131_072, limits: JSON_LIMITS }))).toBe(code);
  });

  it('stops reading at the first limit that is passed', () => {
    const scanner = new JsonScanner();
    const brackets = Buffer.alloc(65_536, '[');
    expect(() => scanner.push(brackets)).toThrow('at most 64 levels of nesting');
  });
});
