import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Batch } from '../../src/scheduling/batch-former.ts';
import { FairClock } from '../../src/scheduling/fair-clock.ts';
import { Heap } from '../../src/scheduling/heap.ts';
import { InFlightBatches } from '../../src/scheduling/in-flight-batches.ts';

describe('heap', () => {
  it('gives items in order, whatever was pushed and removed before', () => {
    const step = fc.oneof(
      fc.record({ push: fc.integer() }),
      fc.record({ remove: fc.nat(50) }),
      fc.constant('pop' as const),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const heap = new Heap<{ value: number }>((a, b) => a.value < b.value);
        let model: { value: number }[] = [];
        for (const s of steps) {
          if (s === 'pop') {
            const least = Math.min(...model.map((m) => m.value));
            const popped = heap.pop();
            expect(popped?.value).toBe(model.length > 0 ? least : undefined);
            model = model.filter((m) => m !== popped);
          } else if ('push' in s) {
            const item = { value: s.push };
            heap.push(item);
            model.push(item);
          } else if (model.length > 0) {
            const item = model[s.remove % model.length]!;
            expect(heap.remove(item)).toBe(true);
            expect(heap.remove(item)).toBe(false);
            model = model.filter((m) => m !== item);
          }
          expect(heap.size).toBe(model.length);
        }
        const drained = [];
        for (let item = heap.pop(); item; item = heap.pop()) drained.push(item.value);
        expect(drained).toEqual(model.map((m) => m.value).sort((a, b) => a - b));
      }),
    );
  });
});

/** Completion times of jobs under exact processor sharing, by small steps of work. */
function processorSharing(jobs: readonly { at: number; work: number }[]): number[] {
  const left = jobs.map((job) => job.work);
  const done = jobs.map(() => 0);
  let time = 0;
  for (;;) {
    const active = jobs.flatMap((job, i) => (job.at <= time && left[i]! > 1e-9 ? [i] : []));
    const next = Math.min(...jobs.map((job) => job.at).filter((at) => at > time));
    if (active.length === 0) {
      if (next === Number.POSITIVE_INFINITY) return done;
      time = next;
      continue;
    }
    const least = Math.min(...active.map((i) => left[i]!)) * active.length;
    const step = Math.min(least, next - time);
    time += step;
    for (const i of active) {
      left[i]! -= step / active.length;
      if (left[i]! <= 1e-9 && done[i] === 0) done[i] = time;
    }
  }
}

describe('fair clock', () => {
  it('has every job done no later than equal sharing would, when served by virtual finish', () => {
    const jobs = fc.array(fc.record({ at: fc.nat(40), work: fc.integer({ min: 1, max: 30 }) }), {
      minLength: 1,
      maxLength: 12,
    });
    fc.assert(
      fc.property(jobs, (plan) => {
        const shared = processorSharing(plan);
        const clock = new FairClock();
        const waiting: { finish: number; left: number; id: number }[] = [];
        const done = plan.map(() => 0);
        const horizon = 40 + plan.reduce((sum, job) => sum + job.work, 0) + 1;
        for (let time = 0; time <= horizon; time++) {
          plan.forEach((job, id) => {
            if (job.at === time) waiting.push({ finish: clock.arrive(job.work).finish, left: job.work, id });
          });
          if (waiting.length === 0) continue;
          waiting.sort((a, b) => a.finish - b.finish);
          const job = waiting[0]!;
          clock.serve(1);
          if (--job.left > 0) continue;
          done[job.id] = time + 1;
          waiting.shift();
          if (waiting.length === 0) clock.reset();
        }
        // Service comes in whole units here, so one unit of slack.
        plan.forEach((_, id) => {
          expect(done[id]).toBeLessThanOrEqual(shared[id]! + 1 + 1e-6);
        });
      }),
      { numRuns: 300 },
    );
  });

  it('a job that leaves no longer slows virtual time', () => {
    const clock = new FairClock();
    const gone = clock.arrive(100);
    clock.arrive(10);
    clock.leave(gone);
    clock.serve(5);
    expect(clock.preview(0)).toBe(5);
  });
});

describe('in-flight batches', () => {
  const batch = {} as Batch<string>;

  it('reckons what a batch took from the previous one of its own runner, whatever was handed over before it', () => {
    const inFlight = new InFlightBatches<string>(2, 2);
    const [long, short, second, third] = [100, 10, 10, 10].map((ms) => inFlight.add(batch, ms, 0));
    expect(inFlight.hasRoom).toBe(false);
    expect(inFlight.complete(short!, 1, 10)).toBe(10);
    // `second` lies behind `long`; `third` overtakes it.
    expect(inFlight.complete(third!, 1, 21)).toBe(11);
    expect(inFlight.complete(long!, 0, 100)).toBe(100);
    expect(inFlight.complete(second!, 0, 112)).toBe(12);
    expect(inFlight.size).toBe(0);
  });

  it('does not count the time in which a runner had nothing to do', () => {
    const inFlight = new InFlightBatches<string>(1, 1);
    expect(inFlight.complete(inFlight.add(batch, 5, 0), 0, 5)).toBe(5);
    expect(inFlight.complete(inFlight.add(batch, 5, 50), 0, 56)).toBe(6);
  });
});
