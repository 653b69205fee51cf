import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { InferenceRow } from '../../src/inference/inference-types.ts';
import { type InputSpec, Padder } from '../../src/inference/padding.ts';

const PAD = 7;
const NAMES = ['input_ids', 'attention_mask', 'token_type_ids', 'position_ids'] as const;

const rowOf = fc
  .array(fc.integer({ min: 0, max: 2 ** 31 - 1 }), { minLength: 1, maxLength: 30 })
  .chain((ids) => fc.record({ ids: fc.constant(Int32Array.from(ids)), secondSegment: fc.nat(ids.length) }));
const batch = fc.array(rowOf, { minLength: 1, maxLength: 8 });

/** What each input means, one element at a time. */
const MEANING: Readonly<Record<(typeof NAMES)[number], (row: InferenceRow, c: number) => number>> = {
  input_ids: ({ ids }, c) => ids[c] ?? PAD,
  attention_mask: ({ ids }, c) => (c < ids.length ? 1 : 0),
  token_type_ids: ({ ids, secondSegment }, c) => (c >= secondSegment && c < ids.length ? 1 : 0),
  position_ids: ({ ids }, c) => (c < ids.length ? c : 0),
};

describe.each(['int64', 'int32'] as const)('padding into %s', (type) => {
  it('means what it should, batch after batch in the same buffers', () => {
    const padder = new Padder();
    const inputs: InputSpec[] = NAMES.map((name) => ({ name, type }));
    fc.assert(
      fc.property(batch, (rows) => {
        const width = Math.max(...rows.map(({ ids }) => ids.length));
        const padded = padder.pad(rows, inputs, { padId: PAD });
        for (const name of NAMES) {
          const expected = rows.flatMap((row) => Array.from({ length: width }, (_, c) => MEANING[name](row, c)));
          expect(padded[name]!.dims).toEqual([rows.length, width]);
          expect(Array.from(padded[name]!.data, Number)).toEqual(expected);
        }
      }),
    );
  });

  it('counts positions from the one after padding where the family does', () => {
    const rows = [3, 1].map((length) => ({ ids: new Int32Array(length).fill(9), secondSegment: length }));
    const positions = (firstPosition: number) =>
      Array.from(
        new Padder().pad(rows, [{ name: 'position_ids', type }], { padId: PAD, firstPosition }).position_ids!.data,
        Number,
      );
    expect(positions(0)).toEqual([0, 1, 2, 0, 0, 0]);
    expect(positions(2)).toEqual([2, 3, 4, 2, 1, 1]);
  });

  it('uses its memory again', () => {
    const padder = new Padder();
    const inputs: InputSpec[] = [{ name: 'input_ids', type }];
    const of = (length: number) => [{ ids: new Int32Array(length).fill(1), secondSegment: 0 }];
    const large = padder.pad(of(100), inputs, { padId: PAD }).input_ids!.data.buffer;
    expect(padder.pad(of(30), inputs, { padId: PAD }).input_ids!.data.buffer).toBe(large);
  });

  it('provides only the inputs of the graph', () => {
    const padded = new Padder().pad([{ ids: Int32Array.of(1), secondSegment: 1 }], [{ name: 'input_ids', type }], {
      padId: PAD,
    });
    expect(Object.keys(padded)).toEqual(['input_ids']);
  });
});
