import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createQueuedJob, type QueuedJob } from '../../src/scheduling/queued-job.ts';
import { type LaneLoad, type NewJob, PROMISED_SHARE, placeIn } from '../../src/scheduling/service-order.ts';

const NOW: LaneLoad = { now: 0, speed: 1, workBefore: 0 };

interface Spec {
  readonly work: number;
  readonly finish?: number;
  readonly priority?: number;
  readonly deadline?: number;
}

/** A waiting job of one row with the given work. */
function job(spec: Spec, sequence = 0): QueuedJob<string> {
  const { work, priority = 0, deadline = Number.POSITIVE_INFINITY } = spec;
  const rate = { linear: work, square: 0 };
  const facts = { owner: '', sequence, key: 'm', lane: 'interactive', priority, arrived: 0, deadline, rate } as const;
  const queued = createQueuedJob({ ...facts, lengths: [1] });
  queued.finish = spec.finish ?? work;
  return queued;
}

const newJob = (spec: Spec): NewJob => ({
  work: spec.work,
  finish: spec.finish ?? spec.work,
  priority: spec.priority ?? 0,
  deadline: spec.deadline ?? Number.POSITIVE_INFINITY,
});

const sum = (jobs: readonly QueuedJob<string>[]) => jobs.reduce((total, { work }) => total + work, 0);

function place(specs: readonly Spec[], spec: Spec, load = NOW) {
  const order = specs.map(job);
  return placeIn(order, sum(order), newJob(spec), load);
}

describe('service order', () => {
  it('orders by priority, then by virtual finish', () => {
    const order = [{ work: 10 }, { work: 30 }, { work: 20, priority: 1 }];
    expect(place(order, { work: 20 })).toEqual({ index: 1, workAhead: 10 });
    expect(place(order, { work: 40 })).toEqual({ index: 2, workAhead: 40 });
    expect(place(order, { work: 40, priority: -1 })).toEqual({ index: 0, workAhead: 0 });
    expect(place(order, { work: 40, priority: 2 }).index).toBe(3);
    expect(place(order, { work: 10 }).index).toBe(1);
  });

  it('counts what runs and the higher lanes as ahead', () => {
    expect(place([{ work: 10 }], { work: 20 }, { ...NOW, workBefore: 5 })).toEqual({ index: 1, workAhead: 15 });
  });

  it('a deadline that can still be kept holds shorter new jobs back, one that cannot does not', () => {
    const due = (deadline: number) => place([{ work: 40, deadline }], { work: 20 }).index;
    // 40 + 20 units of work at 90 % of the speed need 66.7 ms; a job may claim half of the time it has.
    expect(due(90)).toBe(0);
    expect(due(81)).toBe(0);
    expect(place([{ work: 40, deadline: 81 }], { work: 35 }).index).toBe(1);
    expect(due(30)).toBe(0);
  });

  it('a job that claims more than half of the speed holds no job back', () => {
    expect(place([{ work: 1000, deadline: 1500 }], { work: 600 }).index).toBe(0);
    expect(place([{ work: 1000, deadline: 2000 }], { work: 850 }).index).toBe(1);
  });

  it('a tight deadline passes jobs that are due later and can wait, not the others', () => {
    const calm = { work: 50, finish: 1, deadline: 10_000 };
    const press = { work: 50, finish: 1000, deadline: 120 };
    expect(place([calm, calm, calm], press)).toEqual({ index: 1, workAhead: 50 });
    expect(place([calm, calm, calm], { ...press, deadline: 10_000 }).index).toBe(3);
    expect(place([{ ...calm, priority: -1 }, calm], { ...press, deadline: 100 }).index).toBe(1);
    expect(place([{ work: 50, finish: 1, deadline: 110 }, calm], { ...press, deadline: 105 }).index).toBe(1);
  });

  it('no new job of the same priority ever breaks a promise that could be kept', () => {
    const spec = fc.record({
      work: fc.integer({ min: 1, max: 100 }),
      deadline: fc.oneof(fc.integer({ min: 1, max: 2000 }), fc.constant(Number.POSITIVE_INFINITY)),
    });
    fc.assert(
      fc.property(fc.array(spec, { maxLength: 30 }), (specs) => {
        const order: QueuedJob<string>[] = [];
        const kept = (jobs: readonly QueuedJob<string>[]) => {
          let done = 0;
          return new Set(
            jobs.filter((queued) => {
              done += queued.work;
              return queued.work <= queued.deadline / 2 && done <= queued.deadline * PROMISED_SHARE;
            }),
          );
        };
        specs.forEach((s, i) => {
          const before = kept(order);
          const queued = job(s, i);
          const { index, workAhead } = placeIn(order, sum(order), newJob(s), NOW);
          expect(workAhead).toBe(sum(order.slice(0, index)));
          order.splice(index, 0, queued);
          const after = kept(order);
          for (const promised of before) expect(after.has(promised)).toBe(true);
        });
      }),
      { numRuns: 300 },
    );
  });
});
