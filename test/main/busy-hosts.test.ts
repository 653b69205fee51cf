import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BusyHosts } from '../../src/main/busy-hosts.ts';

function at(start: number) {
  const clock = { time: start, now: () => clock.time };
  return clock;
}

describe('the share of the last minute that hosts were busy', () => {
  it('is that of the time since the start in the first minute', () => {
    const clock = at(1500);
    const busy = new BusyHosts(2, clock);
    expect(busy.ratios()).toEqual([0, 0]);
    clock.time += 4000;
    busy.add(1, 3000);
    expect(busy.ratios()).toEqual([0, 0.75]);
  });

  it('forgets what is older than a minute', () => {
    const clock = at(0);
    const busy = new BusyHosts(1, clock);
    clock.time = 10_000;
    busy.add(0, 10_000);
    clock.time = 70_000;
    expect(busy.ratios()).toEqual([0]);
    clock.time = 1_000_000;
    expect(busy.ratios()).toEqual([0]);
  });

  it('counts a batch longer than a minute as a whole minute, and no work from before the start', () => {
    const clock = at(7000);
    const busy = new BusyHosts(1, clock);
    clock.time = 17_000;
    busy.add(0, 90_000);
    expect(busy.ratios()).toEqual([1]);
    clock.time = 200_000;
    busy.add(0, 150_000);
    expect(busy.ratios()).toEqual([1]);
  });

  it('is the work that lies in the last sixty seconds begun, for any pattern of batches', () => {
    const batch = fc.record({ pause: fc.nat(20_000), work: fc.integer({ min: 1, max: 15_000 }) });
    fc.assert(
      fc.property(fc.array(batch, { maxLength: 30 }), fc.nat(90_000), (pattern, later) => {
        const clock = at(0);
        const busy = new BusyHosts(1, clock);
        const done: (readonly [number, number])[] = [];
        for (const { pause, work } of pattern) {
          clock.time += pause + work;
          busy.add(0, work);
          done.push([clock.time - work, clock.time]);
        }
        clock.time += later + 1;
        const from = Math.max(0, (Math.floor(clock.time / 1000) - 59) * 1000);
        const worked = done.reduce((sum, [begin, end]) => sum + Math.max(0, end - Math.max(begin, from)), 0);
        expect(busy.ratios()[0]).toBeCloseTo(worked / (clock.time - from), 9);
      }),
    );
  });
});
