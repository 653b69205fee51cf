import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FinishTimes } from '../../src/inference/finish-times.ts';

const observed = (host: number, ratio: number, batches = 60): FinishTimes => {
  const times = new FinishTimes();
  for (let i = 0; i < batches; i++) times.observe(host, 10, 10 * ratio);
  return times;
};

describe('the time at which a host would finish a batch', () => {
  it('is what remains and the prediction, where nothing else is known', () => {
    expect(new FinishTimes().finishMs({ index: 0, remainingMs: 30 }, 12)).toBe(42);
    expect(new FinishTimes().finishMs({ index: 0, remainingMs: Number.NaN }, 12)).toBeNaN();
    expect(new FinishTimes().finishMs({ index: 0, remainingMs: 30 })).toBeNaN();
  });

  it('follows a device that is clearly slower, and no other', () => {
    const times = observed(1, 4);
    expect(times.finishMs({ index: 1, remainingMs: 0 }, 10)).toBeCloseTo(40, 0);
    expect(times.finishMs({ index: 0, remainingMs: 0 }, 10)).toBe(10);
  });

  it('does not follow the noise of equal devices', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0.75, max: 1.35, noNaN: true }), { maxLength: 200 }), (ratios) => {
        const times = new FinishTimes();
        for (const ratio of ratios) times.observe(2, 10, 10 * ratio);
        expect(times.batchMs(2, 10)).toBe(10);
      }),
    );
  });

  it('ignores times that say nothing', () => {
    const times = new FinishTimes();
    for (let i = 0; i < 50; i++) {
      times.observe(0, undefined, 900);
      times.observe(0, 0, 900);
      times.observe(0, 10, 0);
      times.observe(0, 10, Number.NaN);
    }
    expect(times.batchMs(0, 10)).toBe(10);
  });
});
