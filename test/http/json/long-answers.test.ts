import fc from 'fast-check';
import { expect, it } from 'vitest';
import { aroundField, writeJson } from '../../../src/http/json/text.ts';

/** Text longer than a piece, with what a cut could break: surrogate pairs, halves of them, escapes. */
const long = fc
  .tuple(fc.nat(12), fc.constantFrom('🙂', '\ud83d', '\n', '"\\', '\u2028', 'é'))
  .map(([before, unit]) => 'x'.repeat(65_530 + before) + unit.repeat(70_000));
const document = fc.oneof(
  long,
  fc.jsonValue(),
  fc.record({ text: long, tags: fc.array(fc.jsonValue()), more: fc.constant({ none: {}, list: [] }) }),
  fc.array(long, { maxLength: 2 }),
);

it('long and short fields are written as JSON.stringify does', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(document, { minLength: 1, maxLength: 3 }), async (documents) => {
      const buffers = await writeJson({
        head: '[',
        count: documents.length,
        item: (i) => aroundField(`{"index":${i}`, 'document', documents[i], '}'),
        tail: ']',
      });
      const expected = JSON.stringify(documents.map((value, index) => ({ index, document: value })));
      expect(Buffer.concat(buffers).toString() === expected).toBe(true);
    }),
    { numRuns: 60 },
  );
});
