import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeJson,
  decodeRun,
  decodeScores,
  encodeJson,
  encodeRun,
  encodeScores,
  type Frame,
  FrameReader,
} from '../../src/inference/host-protocol.ts';

const rows = fc.array(
  fc.record({
    ids: fc.array(fc.integer({ min: 0, max: 2 ** 31 - 1 }), { maxLength: 40 }).map((ids) => Int32Array.from(ids)),
    secondSegment: fc.nat(512),
  }),
  { maxLength: 20 },
);
const id = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const handle = fc.integer({ min: 0, max: 2 ** 31 - 1 });

/** A stream cut at the given places (fractions of its length). */
function cut(stream: Uint8Array, places: readonly number[]): Uint8Array[] {
  const at = [0, ...places.map((p) => Math.floor(p * stream.length)).sort((a, b) => a - b), stream.length];
  return at.slice(1).map((end, i) => stream.slice(at[i], end));
}

const read = (chunks: readonly Uint8Array[]): Frame[] => {
  const reader = new FrameReader();
  return chunks.flatMap((chunk) => [...reader.push(chunk)]);
};

const soleFrame = (bytes: Uint8Array): Frame => {
  const [frame, ...more] = read([bytes]);
  expect(more).toEqual([]);
  return frame!;
};

describe('protocol', () => {
  it('batches come back as they went', () => {
    fc.assert(
      fc.property(id, handle, rows, (id, handle, rows) => {
        const frame = soleFrame(encodeRun(id, { handle, rows }));
        expect(frame).toMatchObject({ kind: 'run', id });
        expect(decodeRun(frame.payload)).toEqual({ handle, rows });
      }),
    );
  });

  it('scores come back bit for bit', () => {
    const float = fc.float32Array();
    fc.assert(
      fc.property(id, float, fc.double(), fc.nat(), fc.nat(), (id, scores, inferMs, rss, cpuMs) => {
        const frame = soleFrame(encodeScores(id, { scores, inferMs, rss, cpuMs }));
        expect(frame).toMatchObject({ kind: 'scores', id });
        const back = decodeScores(frame.payload);
        expect(new Uint32Array(back.scores.slice().buffer)).toEqual(new Uint32Array(scores.slice().buffer));
        expect([back.inferMs, back.rss, back.cpuMs]).toEqual([inferMs, rss, cpuMs]);
      }),
    );
  });

  it('control messages come back as they went, whatever text they hold', () => {
    fc.assert(
      fc.property(id, fc.string({ unit: 'grapheme' }), (id, key) => {
        const frame = soleFrame(encodeJson('load', id, { handle: 1, key }));
        expect(decodeJson(frame.payload)).toEqual({ handle: 1, key });
      }),
    );
  });

  it('frames are found however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(rows, { minLength: 1, maxLength: 6 }),
        fc.array(fc.double({ min: 0, max: 1, noNaN: true })),
        (batches, places) => {
          const stream = Buffer.concat(batches.map((rows, i) => encodeRun(i, { handle: i, rows })));
          const frames = read(cut(stream, places));
          expect(frames.map(({ id, payload }) => ({ id, ...decodeRun(payload) }))).toEqual(
            batches.map((rows, i) => ({ id: i, handle: i, rows })),
          );
        },
      ),
    );
  });

  it('rows are views of the payload', () => {
    const { payload } = soleFrame(encodeRun(1, { handle: 1, rows: [{ ids: Int32Array.of(1, 2), secondSegment: 1 }] }));
    expect(decodeRun(payload).rows[0]!.ids.buffer).toBe(payload.buffer);
  });

  it('refuses a stream that is none of frames', () => {
    const reader = new FrameReader();
    expect(() => [...reader.push(new TextEncoder().encode('HTTP/1.1 400 Bad Request'))]).toThrow('expected a frame');
  });
});
