import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { startProgress } from '../../src/util/progress.ts';

/** Updates a display, one per second of its own clock, and returns the lines that it writes. */
function linesOf(total: number, from: number, updates: readonly number[]): string[] {
  const stream = new PassThrough() as unknown as NodeJS.WriteStream & PassThrough;
  let time = 0;
  const progress = startProgress('work', total, from, { stream, everyMs: 0, now: () => time });
  for (const done of updates) {
    time += 1000;
    progress.update(done);
  }
  progress.stop();
  return String(stream.read() ?? '').split('\n');
}

describe('progress without a terminal', () => {
  it('states what is done and the time to the end', () => {
    expect(linesOf(10, 0, [1, 4]).slice(0, 2)).toEqual(['work 1/10 (10.0 %), ETA 9 s', 'work 4/10 (40.0 %), ETA 3 s']);
  });

  it('counts what an earlier run did, and takes no time for it', () => {
    expect(linesOf(500, 250, [250, 255, 260]).slice(0, 3)).toEqual([
      'work 250/500 (50.0 %), ETA ?',
      'work 255/500 (51.0 %), ETA 1 min 38 s',
      'work 260/500 (52.0 %), ETA 1 min 12 s',
    ]);
  });

  it('has the same time to the end wherever the run goes on', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e6 }), fc.integer({ min: 1, max: 50 }), (from, left) => {
        const etas = (base: number) => linesOf(base + 1 + left, base, [base + 1])[0]!.split(' ETA ')[1];
        expect(etas(from)).toBe(etas(0));
      }),
    );
  });
});
