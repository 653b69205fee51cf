import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import { readTexts } from '../../src/http/dialects/tensors.ts';

function packed(texts: readonly string[]): Buffer {
  const parts = texts.flatMap((text) => {
    const bytes = Buffer.from(text);
    return [Buffer.from(Uint32Array.of(bytes.length).buffer), bytes];
  });
  return Buffer.concat(parts);
}

/** Texts without halves of surrogate pairs; some are longer than what is decoded at once. */
const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc
    .tuple(fc.string({ unit: 'binary', minLength: 1, maxLength: 5 }), fc.integer({ min: 1, max: 60_000 }))
    .map(([part, times]) => part.repeat(times)),
);

describe('readTexts', () => {
  it('reads what was packed', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(text, { maxLength: 5 }), { maxLength: 4 }), async (tensors) => {
        const parts = tensors.map(packed);
        const sizes = parts.map(({ length }, i) => ({ field: 'f', count: tensors[i]!.length, size: length }));
        expect(await readTexts(Buffer.concat(parts), sizes)).toEqual({ texts: tensors, repaired: 0 });
      }),
      { numRuns: 60 },
    );
  });

  it('decodes bytes that are not UTF-8 as a decoder does that replaces them', async () => {
    const part = fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.constant(Buffer.from('x'.repeat(70_000))));
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 4 }), async (parts) => {
        const bytes = Buffer.concat(parts);
        const whole = Buffer.concat([Buffer.from(Uint32Array.of(bytes.length).buffer), bytes]);
        const { texts, repaired } = await readTexts(whole, [{ field: 'f', count: 1, size: whole.length }]);
        const isText = Buffer.from(bytes.toString('utf8')).equals(bytes);
        const kept = isText ? bytes : Buffer.from(bytes.filter((byte) => byte !== 0));
        expect(texts).toEqual([[kept.toString('utf8')]]);
        expect(repaired).toBe(isText ? 0 : 1);
      }),
    );
  });

  it('refuses a long text that is not UTF-8', async () => {
    const bytes = Buffer.concat([Buffer.from(Uint32Array.of(2 ** 20 + 1).buffer), Buffer.alloc(2 ** 20 + 1, 0xff)]);
    await expect(readTexts(bytes, [{ field: 'f', count: 1, size: bytes.length }])).rejects.toThrow(
      'expected UTF-8 in a text of more than 1048576 bytes, got bytes that are not UTF-8 (f[0])',
    );
  });

  it('reads a long text in pieces, between characters', async () => {
    const long = `${'xü€🧀'.repeat(150_000)}end`;
    const bytes = packed([long, 'short']);
    const { texts } = await readTexts(bytes, [{ field: 'f', count: 2, size: bytes.length }]);
    expect(texts[0]?.[0] === long).toBe(true);
    expect(texts[0]?.[1]).toBe('short');
  });

  it('returns texts or refuses, whatever sizes, counts and bytes are', async () => {
    const count = fc.oneof(fc.nat(6), fc.nat(10_000));
    const tensor = fc.record({ field: fc.constant('f'), count, size: fc.oneof(fc.nat(40), fc.maxSafeInteger()) });
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.array(fc.string({ maxLength: 4 }), { maxLength: 6 }).map(packed),
    );
    await fc.assert(
      fc.asyncProperty(bytes, fc.array(tensor, { maxLength: 3 }), fc.boolean(), async (sent, tensors, fits) => {
        const sized = fits ? tensors.slice(0, 1).map((one) => ({ ...one, size: sent.length })) : tensors;
        try {
          const { texts } = await readTexts(Buffer.from(sent), sized);
          expect(texts.map(({ length }) => length)).toEqual(sized.map(({ count: wanted }) => wanted));
        } catch (error) {
          expect(error).toBeInstanceOf(WinnowError);
          expect(error).toMatchObject({ code: 'invalid_field' });
        }
      }),
      { numRuns: 500 },
    );
  });
});
