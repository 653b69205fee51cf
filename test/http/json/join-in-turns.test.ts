import { isUtf8 } from 'node:buffer';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { isUtf8InTurns, joinInTurns } from '../../../src/http/json/join-in-turns.ts';
import { JsonScanner } from '../../../src/http/json/scanner.ts';

const MIB = 2 ** 20;

it('joins chunks of any sizes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(2 * MIB), { maxLength: 6 }), async (sizes) => {
      const chunks = sizes.map((size, i) => Buffer.alloc(size, i + 1));
      const size = sizes.reduce((sum, more) => sum + more, 0);
      const expected = Buffer.concat(chunks);
      expect((await joinInTurns(chunks, size)).equals(expected)).toBe(true);
      expect(chunks).toEqual([]);
    }),
    { numRuns: 30 },
  );
});

it('recognizes UTF-8 wherever characters and wrong bytes lie', async () => {
  const around = fc.integer({ min: MIB - 8, max: MIB + 8 });
  const inserted = fc.oneof(
    fc.constantFrom('é', '€', '🙂', '\ud800').map((text) => Buffer.from(text)),
    fc.uint8Array({ minLength: 1, maxLength: 6 }).map((bytes) => Buffer.from(bytes)),
    fc.constant(Buffer.alloc(6, 0x80)),
  );
  await fc.assert(
    fc.asyncProperty(around, inserted, fc.nat(10), async (before, middle, after) => {
      const bytes = Buffer.concat([Buffer.alloc(before, 'a'), middle, Buffer.alloc(after, 'b')]);
      expect(await isUtf8InTurns(bytes)).toBe(isUtf8(bytes));
    }),
    { numRuns: 200 },
  );
});

it('the scanner refuses a string after a string at once', () => {
  for (const text of ['"a""b"', '{"a" "b"}', '["a" \n "b"]']) {
    const scanner = new JsonScanner();
    expect(() => scanner.push(Buffer.from(text))).toThrow('a string follows another');
  }
  const scanner = new JsonScanner();
  scanner.push(Buffer.from('{"a":"b","c":["d","e"]}'));
  expect(scanner.end().count).toBe(8);
});
