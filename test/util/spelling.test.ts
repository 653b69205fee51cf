import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  documentedValue,
  fieldName,
  kebabCase,
  parseTyped,
  readSpelling,
  spelled,
  warnOfOld,
  writeSpelling,
} from '../../src/util/spelling.ts';

const part = fc.stringMatching(/^[a-z][a-z0-9]{0,5}$/);
/** Names as code spells them: `one_two` or `oneTwo`. */
const codeName = fc
  .tuple(fc.array(part, { minLength: 1, maxLength: 3 }), fc.boolean())
  .map(([parts, snake]) =>
    snake ? parts.join('_') : parts.map((p, i) => (i === 0 ? p : p[0]!.toUpperCase() + p.slice(1))).join(''),
  );
const codeNames = fc.uniqueArray(codeName, { minLength: 1, maxLength: 6, selector: kebabCase });

/** A schema of nested mappings, lists and records with values to choose, and a document it takes. */
const world = fc
  .record({ keys: codeNames, values: codeNames, picks: fc.array(fc.nat(), { minLength: 6, maxLength: 6 }) })
  .map(({ keys, values, picks }) => {
    const choice = z.enum(values as [string, ...string[]]);
    const shape = Object.fromEntries(keys.map((key) => [key, choice.optional()]));
    const pick = (i: number) => values[picks[i % 6]! % values.length]!;
    const leaf = () => Object.fromEntries(keys.map((key, i) => [key, pick(i)]));
    const schema = z.strictObject({
      inner: z.strictObject(shape).prefault({}),
      list: z.array(z.union([z.number(), choice, z.strictObject(shape)])).default([]),
      byName: z.record(z.string(), choice),
      either: z.preprocess((value) => value, choice).nullish(),
    });
    const document = { inner: leaf(), list: [1, pick(0), leaf()], byName: { some_name: pick(1) }, either: pick(2) };
    return { schema, document: document as Record<string, unknown> };
  });

/** The document with every key of the schema, and every value, in the spelling `speak` gives; names that are free stay. */
function retyped(value: unknown, speak: (name: string) => string): unknown {
  if (typeof value === 'string') return speak(value);
  if (Array.isArray(value)) return value.map((item) => retyped(item, speak));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key === 'some_name' ? key : speak(key), retyped(inner, speak)]),
  );
}

describe('kebab-case', () => {
  it.each([
    ['rank_llm', 'rank-llm'],
    ['maxLength', 'max-length'],
    ['beta1', 'beta1'],
    ['latency_p95_ms', 'latency-p95-ms'],
    ['ndcgLoss2++', 'ndcg-loss2++'],
    ['as-is', 'as-is'],
    ['InfoNCE', 'InfoNCE'],
    ['nDCG@10', 'nDCG@10'],
    ['title+description', 'title+description'],
  ])('of %s is %s', (name, expected) => expect(kebabCase(name)).toBe(expected));

  it('of its own result is the same', () => {
    fc.assert(
      fc.property(codeName, (name) => {
        expect(kebabCase(kebabCase(name))).toBe(kebabCase(name));
      }),
    );
  });
});

describe('reading a document', () => {
  it('gives the same from either spelling, and old spellings only where one was typed', () => {
    fc.assert(
      fc.property(world, ({ schema, document }) => {
        const typed = readSpelling(schema, retyped(document, kebabCase));
        expect(typed).toEqual({ document, old: [], issues: [] });
        const old = readSpelling(schema, document);
        expect({ ...old, old: [] }).toEqual({ document, old: [], issues: [] });
        for (const { old: was, now } of old.old) expect([now === kebabCase(was), now === was]).toEqual([true, false]);
      }),
    );
  });

  it('reads what writing gives', () => {
    fc.assert(
      fc.property(world, ({ schema, document }) => {
        const read = readSpelling(schema, writeSpelling(schema, document));
        expect(read).toEqual({ document, old: [], issues: [] });
      }),
    );
  });

  it('leaves anything else as it is, for the schema to refuse', () => {
    fc.assert(
      fc.property(world, fc.anything(), ({ schema }, anything) => {
        const { document } = readSpelling(schema, anything);
        expect(schema.safeParse(document).success).toBe(schema.safeParse(anything).success);
      }),
    );
    const schema = z.strictObject({ maxLength: z.number() });
    expect(readSpelling(schema, { 'max-lenght': 1, max_length: 2 }).document).toEqual({
      'max-lenght': 1,
      max_length: 2,
    });
  });

  it('refuses a key in two spellings by name', () => {
    const schema = z.strictObject({ batch: z.strictObject({ bucketBatches: z.number() }) });
    const read = parseTyped(schema, { batch: { bucketBatches: 1, 'bucket-batches': 2 } });
    expect(read.issues).toMatchObject([
      {
        path: ['batch', 'bucketBatches'],
        message: 'expected the key in one spelling, got bucketBatches and bucket-batches',
      },
    ]);
  });

  it('takes documented names that no rule gives, and names the field as it was typed', () => {
    const test = spelled(z.enum(['t', 'randomisation']), { values: { randomisation: 'randomization' } });
    const schema = z.strictObject({
      parts: z.array(z.strictObject({ licence: spelled(z.string(), { key: 'license' }) })),
      test,
    });
    expect(documentedValue(test, 'randomisation')).toBe('randomization');
    const internal = { parts: [{ licence: 'MIT' }], test: 'randomisation' };
    expect(readSpelling(schema, { parts: [{ license: 'MIT' }], test: 'randomization' })).toEqual({
      document: internal,
      old: [],
      issues: [],
    });
    expect(readSpelling(schema, internal)).toEqual({
      document: internal,
      old: [
        { at: 'parts[0].licence', old: 'licence', now: 'license' },
        { at: 'test', old: 'randomisation', now: 'randomization' },
      ],
      issues: [],
    });
    expect(writeSpelling(schema, internal)).toEqual({ parts: [{ license: 'MIT' }], test: 'randomization' });
  });

  it('follows dotted paths, and shapes that the value itself decides', () => {
    const options = z.strictObject({ howMany: z.enum(['one_only', 'all']) });
    const target = z.strictObject({
      batch: z.strictObject({ perStep: z.enum(['as_is']) }).prefault({ perStep: 'as_is' }),
    });
    const schema = z.strictObject({
      tried: spelled(z.record(z.string(), z.array(z.unknown())), { pathsOf: target }),
      kind: spelled(z.looseObject({ name: z.string() }), {
        shapeOf: (value) => ((value as { name?: string }).name === 'counting' ? options : undefined),
      }),
    });
    const typed = { tried: { 'batch.per-step': ['as-is'] }, kind: { name: 'counting', 'how-many': 'one-only' } };
    const internal = { tried: { 'batch.perStep': ['as_is'] }, kind: { name: 'counting', howMany: 'one_only' } };
    expect(readSpelling(schema, typed)).toEqual({ document: internal, old: [], issues: [] });
    expect(readSpelling(schema, { ...internal, kind: { name: 'other', howMany: 1 } }).old).toEqual([
      { at: 'tried.batch.perStep[0]', old: 'as_is', now: 'as-is' },
    ]);
  });
});

describe('the line about an old spelling', () => {
  it('names place, old and new spelling, once a process', () => {
    const lines: string[] = [];
    const found = [
      { at: 'data.train[0].format', old: 'rank_llm', now: 'rank-llm' },
      { at: 'data.train[1].format', old: 'rank_llm', now: 'rank-llm' },
      { at: '', old: '--registry', now: '--models' },
    ];
    for (let i = 0; i < 2; i++) warnOfOld(found, (line) => lines.push(line));
    expect(lines).toEqual([
      "winnow: data.train[0].format: 'rank_llm' is spelled 'rank-llm' now; the old spelling still works\n",
      "winnow: '--registry' is spelled '--models' now; the old spelling still works\n",
    ]);
  });

  it('writes paths as files have them', () => {
    expect(fieldName(['data', 'train', 0, 'format'])).toBe('data.train[0].format');
  });
});
