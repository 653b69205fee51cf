import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeAnswer, decodeBatch, encodeAnswer, encodeBatch } from '../../src/inference/batch-frames.ts';
import { FrameReader } from '../../src/inference/host-protocol.ts';

const soleFrame = (bytes: Uint8Array) => {
  const [frame, ...more] = [...new FrameReader().push(bytes)];
  expect(more).toEqual([]);
  return frame!;
};

const ids = fc.array(fc.nat(2 ** 31 - 1), { minLength: 1, maxLength: 12 }).map((list) => Int32Array.from(list));
const bytes = fc.uint8Array({ minLength: 1, maxLength: 60 });
const batch = fc
  .tuple(
    fc.array(ids, { minLength: 1, maxLength: 4 }),
    fc.array(fc.tuple(fc.nat(3), bytes), { minLength: 1, maxLength: 12 }),
  )
  .map(([queries, rows]) => rows.map(([of, kept]) => ({ query: queries[of % queries.length]!, bytes: kept })));

describe('frames of kept passages', () => {
  it('come back as they went, each query once', () => {
    fc.assert(
      fc.property(fc.nat(), batch, (handle, kept) => {
        const rows = kept.map((one) => ({ ids: Int32Array.of(7, 8), secondSegment: 2, kept: one }));
        const frame = soleFrame(encodeBatch(9, { handle, rows }));
        expect(frame).toMatchObject({ kind: 'runKept', id: 9 });
        const back = decodeBatch(frame);
        expect(back.handle).toBe(handle);
        expect(back.rows.map((row) => [...row.kept!.query])).toEqual(kept.map(({ query }) => [...query]));
        expect(back.rows.map((row) => [...row.kept!.bytes])).toEqual(kept.map((one) => [...one.bytes]));
        const arrays = new Set(back.rows.map((row) => row.kept!.query));
        expect(arrays.size).toBe(new Set(kept.map(({ query }) => query)).size);
      }),
    );
  });

  it('bring pieces of any length, as views of one payload', () => {
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 12 }), fc.double({ noNaN: true }), fc.nat(), (pieces, inferMs, rss) => {
        const message = { scores: new Float32Array(0), pieces, inferMs, rss, cpuMs: 1 };
        const frame = soleFrame(encodeAnswer(3, message));
        const back = decodeAnswer(frame);
        expect(back.pieces!.map((piece) => [...piece])).toEqual(pieces.map((piece) => [...piece]));
        expect(back.pieces!.every(({ buffer }) => buffer === frame.payload.buffer)).toBe(true);
        expect([back.inferMs, back.rss, back.cpuMs]).toEqual([inferMs, rss, 1]);
      }),
    );
  });
});
