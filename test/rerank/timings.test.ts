import { describe, expect, it } from 'vitest';
import { combineTimings } from '../../src/rerank/timings.ts';

const parts = [
  { tokenizeMs: 1, queueMs: 20, inferMs: 300, totalMs: 321 },
  { tokenizeMs: 2, queueMs: 10, inferMs: 400, totalMs: 412 },
];

describe('timings of a request in several parts', () => {
  it('add up over the stages of a cascade', () => {
    expect(combineTimings('stages', parts)).toEqual({ tokenizeMs: 3, queueMs: 30, inferMs: 700, totalMs: 412 });
  });

  it('count overlapping waits of several queries once', () => {
    expect(combineTimings('queries', parts)).toEqual({ tokenizeMs: 3, queueMs: 20, inferMs: 700, totalMs: 412 });
  });

  it('count the shared tokenization of arms once', () => {
    expect(combineTimings('arms', parts)).toEqual({ tokenizeMs: 2, queueMs: 20, inferMs: 700, totalMs: 412 });
  });
});
