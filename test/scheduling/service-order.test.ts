import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createQueuedJob, type QueuedJob } from '../../src/scheduling/queued-job.ts';
import { type Newcomer, type Outlook, PROMISED_SHARE, placeIn } from '../../src/scheduling/service-order.ts';

const NOW: Outlook = { now: 0, speed: 1, before: 0 };

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

const newcomer = (spec: Spec): Newcomer => ({
  work: spec.work,
  finish: spec.finish ?? spec.work,
  priority: spec.priority ?? 0,
  deadline: spec.deadline ?? Number.POSITIVE_INFINITY,
});

const sum = (jobs: readonly QueuedJob<string>[]) => jobs.reduce((total, { work }) => total + work, 0);

function place(specs: readonly Spec[], spec: Spec, outlook = NOW) {
  const plan = specs.map(job);
  return placeIn(plan, sum(plan), newcomer(spec), outlook);
}

describe('plan', () => {
  it('orders by priority, then by virtual finish', () => {
    const plan = [{ work: 10 }, { work: 30 }, { work: 20, priority: 1 }];
    expect(place(plan, { work: 20 })).toEqual({ index: 1, ahead: 10 });
    expect(place(plan, { work: 40 })).toEqual({ index: 2, ahead: 40 });
    expect(place(plan, { work: 40, priority: -1 })).toEqual({ index: 0, ahead: 0 });
    expect(place(plan, { work: 40, priority: 2 }).index).toBe(3);
    expect(place(plan, { work: 10 }).index).toBe(1);
  });

  it('counts what runs and the higher lanes as ahead', () => {
    expect(place([{ work: 10 }], { work: 20 }, { ...NOW, before: 5 })).toEqual({ index: 1, ahead: 15 });
  });

  it('a deadline that can still be kept holds shorter newcomers back, one that cannot does not', () => {
    const due = (deadline: number) => place([{ work: 40, deadline }], { work: 20 }).index;
    // 40 + 20 units of work at 90 % of the speed need 66.7 ms; a job may claim half of the time it has.
    expect(due(90)).toBe(0);
    expect(due(81)).toBe(0);
    expect(place([{ work: 40, deadline: 81 }], { work: 35 }).index).toBe(1);
    expect(due(30)).toBe(0);
  });

  it('who claims more than half of the engine keeps nobody back', () => {
    expect(place([{ work: 1000, deadline: 1500 }], { work: 600 }).index).toBe(0);
    expect(place([{ work: 1000, deadline: 2000 }], { work: 850 }).index).toBe(1);
  });

  it('a pressing deadline passes those who are due later and can wait, not the others', () => {
    const calm = { work: 50, finish: 1, deadline: 10_000 };
    const press = { work: 50, finish: 1000, deadline: 120 };
    expect(place([calm, calm, calm], press)).toEqual({ index: 1, ahead: 50 });
    expect(place([calm, calm, calm], { ...press, deadline: 10_000 }).index).toBe(3);
    expect(place([{ ...calm, priority: -1 }, calm], { ...press, deadline: 100 }).index).toBe(1);
    expect(place([{ work: 50, finish: 1, deadline: 110 }, calm], { ...press, deadline: 105 }).index).toBe(1);
  });

  it('no newcomer of the same priority ever breaks a promise that could be kept', () => {
    const spec = fc.record({
      work: fc.integer({ min: 1, max: 100 }),
      deadline: fc.oneof(fc.integer({ min: 1, max: 2000 }), fc.constant(Number.POSITIVE_INFINITY)),
    });
    fc.assert(
      fc.property(fc.array(spec, { maxLength: 30 }), (specs) => {
        const plan: QueuedJob<string>[] = [];
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
          const before = kept(plan);
          const queued = job(s, i);
          const { index, ahead } = placeIn(plan, sum(plan), newcomer(s), NOW);
          expect(ahead).toBe(sum(plan.slice(0, index)));
          plan.splice(index, 0, queued);
          const after = kept(plan);
          for (const promised of before) expect(after.has(promised)).toBe(true);
        });
      }),
      { numRuns: 300 },
    );
  });
});
