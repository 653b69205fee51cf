import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import type { Cost } from '../../src/scheduling/cost-model.ts';
import { createScheduler, type SchedulingLimits } from '../../src/scheduling/scheduler.ts';
import type { BatchAnswer, Job, JobResult, Lane, SchedulerObserver } from '../../src/scheduling/scheduling-types.ts';
import { type EngineOptions, type FakeRow, row, SimulatedClock, simulatedEngine } from './simulation.ts';

const COST: Cost = { fixed: 1, perToken: 0.1, perSquare: 0 };
const LIMITS: SchedulingLimits = {
  batchTokens: 1024,
  batchRows: 16,
  queueTokens: 100_000,
  maxWaitMs: 10_000,
  agingMs: 2000,
};

interface Shed {
  readonly reason: string;
  readonly rows: number;
  readonly lane: Lane;
}

function bench(options: Partial<EngineOptions> & { limits?: Partial<SchedulingLimits> } = {}) {
  const clock = new SimulatedClock();
  const engine = simulatedEngine(clock, { cost: COST, ...options });
  const shed: Shed[] = [];
  const batches: Parameters<NonNullable<SchedulerObserver['onBatch']>>[0][] = [];
  const observer: SchedulerObserver = {
    onShed: (reason, rows, lane) => shed.push({ reason, rows, lane }),
    onBatch: (batch) => batches.push(batch),
  };
  const limits = { ...LIMITS, ...options.limits };
  const scheduler = createScheduler<FakeRow>({ executor: engine, clock, limits, observer, prior: COST });
  const submit = (job: Partial<Job<FakeRow>> & { rows: readonly FakeRow[] }) =>
    scheduler.submit({ key: 'm@1', lane: 'interactive', deadline: Number.POSITIVE_INFINITY, ...job });
  /** The promise's end as a value, so that nothing is left unhandled. */
  const outcome = (promise: Promise<JobResult>) =>
    promise.then(
      (result) => ({ result, error: undefined }),
      (error: unknown) => ({ result: undefined, error: error as WinnowError }),
    );
  return { clock, engine, scheduler, submit, outcome, shed, batches };
}

const rows = (count: number, length: number, from = 0) =>
  Array.from({ length: count }, (_, i) => row(length, from + i));

describe('scheduler', () => {
  it('gives every job its scores in its order, whatever shares its batches', async () => {
    const job = fc.record({
      lengths: fc.array(fc.integer({ min: 3, max: 600 }), { maxLength: 30 }),
      key: fc.constantFrom('a@1', 'b@1'),
      lane: fc.constantFrom<Lane>('interactive', 'batch', 'shadow'),
      at: fc.nat(300),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(job, { maxLength: 10 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 2 }),
        async (jobs, concurrency, depth) => {
          const b = bench({ concurrency, depth });
          const answers: Promise<JobResult>[] = [];
          jobs.forEach(({ lengths, key, lane, at }, j) => {
            b.clock.after(at, () => {
              answers[j] = b.submit({ key, lane, rows: lengths.map((length, i) => row(length, j * 1000 + i)) });
            });
          });
          await b.clock.run();
          for (const [j, { lengths }] of jobs.entries()) {
            const { scores, queueMs, inferMs, batches } = await answers[j]!;
            expect([...scores]).toEqual(lengths.map((_, i) => j * 1000 + i));
            expect(queueMs).toBeGreaterThanOrEqual(0);
            expect(batches > 0 && inferMs > 0).toBe(lengths.length > 0);
          }
          const ran = b.engine.ran.flatMap((batch) => batch.rows.map((r) => r.score));
          expect(new Set(ran).size).toBe(ran.length);
          expect(ran.length).toBe(jobs.reduce((sum, { lengths }) => sum + lengths.length, 0));
          expect(b.scheduler.queued()).toEqual({ tokens: 0, rows: 0, jobs: 0 });
          expect(b.clock.pending).toBe(0);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('does not wait while a runner is idle, and has the next batch ready while one runs', async () => {
    const b = bench({ concurrency: 2, depth: 2 });
    const answer = b.submit({ rows: rows(60, 100) });
    expect(b.engine.ran).toHaveLength(2);
    expect(b.scheduler.queued().rows).toBe(60 - 4 * 5);
    await b.clock.run();
    // 12 batches of five rows, each 51 ms, two at a time and nothing between them.
    expect(b.clock.now()).toBeCloseTo(6 * 51, 6);
    expect(b.engine.busyMs).toBeCloseTo(12 * 51, 6);
    const { queueMs, inferMs, batches } = await answer;
    expect([queueMs, batches]).toEqual([0, 12]);
    expect(inferMs).toBeCloseTo(12 * 51, 6);
  });

  it('shares engine time among jobs by tokens, and measures waiting to the first batch', async () => {
    const b = bench();
    const first = b.submit({ rows: rows(2, 100) });
    const second = b.submit({ rows: rows(1, 50) });
    const third = b.submit({ rows: rows(1, 50) });
    await b.clock.run();
    expect((await first).queueMs).toBe(0);
    expect((await second).queueMs).toBeCloseTo(21, 6);
    expect((await third).queueMs).toBeCloseTo(21, 6);
    expect((await second).inferMs).toBeCloseTo(5.5, 6);
    expect(b.batches.map((batch) => batch.rows)).toEqual([2, 2]);
    expect(b.batches[1]).toMatchObject({ tokens: 100, paddedTokens: 100, lane: 'interactive', key: 'm@1' });
  });

  it('learns what batches cost', async () => {
    const b = bench({ cost: { fixed: 4, perToken: 0.5, perSquare: 0 } });
    for (let i = 0; i < 40; i++) void b.submit({ rows: rows(1 + (i % 7), 20 + 10 * (i % 11)) });
    await b.clock.run();
    void b.submit({ rows: rows(10, 100) });
    // Two batches of 4 + 250 ms.
    expect(b.scheduler.predictedWaitMs('m@1', 'interactive', 1e6) / 508).toBeCloseTo(1, 1);
    await b.clock.run();
    expect(b.scheduler.predictedWaitMs('m@1', 'interactive', 1e6)).toBe(0);
  });

  it('an empty job is answered at once', async () => {
    const b = bench();
    expect(await b.submit({ rows: [] })).toEqual({ scores: new Float32Array(), queueMs: 0, inferMs: 0, batches: 0 });
    expect(b.engine.ran).toHaveLength(0);
  });
});

describe('scheduler: admission', () => {
  it('refuses at once what would wait longer than maxWaitMs, and says when to come back', async () => {
    const b = bench({ limits: { maxWaitMs: 500 } });
    const first = b.outcome(b.submit({ rows: rows(100, 100) }));
    const { error } = await b.outcome(b.submit({ rows: rows(100, 100) }));
    expect(error?.code).toBe('overloaded');
    // 100 rows are 20 batches of 51 ms; at half a second of it left a try has a chance.
    expect(error?.params.waitMs).toBeGreaterThan(900);
    expect(error?.params.waitMs).toBeLessThan(1200);
    expect(error?.params.seconds).toBe(1);
    expect(b.shed).toEqual([{ reason: 'overloaded', rows: 100, lane: 'interactive' }]);
    await b.clock.run();
    expect((await first).result?.scores).toHaveLength(100);
  });

  it('lets a short job past a long one that it would not wait for', async () => {
    const b = bench({ limits: { maxWaitMs: 500 } });
    void b.submit({ rows: rows(300, 100) });
    const { error } = await b.outcome(b.submit({ rows: rows(300, 100) }));
    expect(error?.code).toBe('overloaded');
    const short = b.submit({ rows: rows(5, 100) });
    await b.clock.run();
    expect((await short).queueMs).toBeLessThan(120);
  });

  it('refuses what could not make its deadline, whatever maxWaitMs says', async () => {
    const b = bench();
    void b.submit({ rows: rows(50, 100) });
    const { error } = await b.outcome(b.submit({ rows: rows(50, 100), deadline: 600 }));
    expect(error?.code).toBe('overloaded');
    const feasible = b.submit({ rows: rows(50, 100), deadline: 1500 });
    await b.clock.run();
    expect((await feasible).scores).toHaveLength(50);
  });

  it('lets a shorter job pass one with a deadline only while that deadline can still be kept', async () => {
    const b = bench();
    const ended: string[] = [];
    const note = (name: string) => () => {
      ended.push(`${name} ${Math.round(b.clock.now())}`);
    };
    void b.submit({ rows: rows(100, 100), deadline: 2100 }).then(note('promised'));
    // Both are shorter. The first may pass: 51 + 51 · 10 ms later the promise still holds. After that, there is no room left to pass.
    void b.submit({ rows: rows(50, 100), deadline: 9000 }).then(note('passes'));
    void b.submit({ rows: rows(90, 100), deadline: 9000 }).then(note('waits'));
    await b.clock.run();
    expect(ended).toEqual(['passes 561', 'promised 1530', 'waits 2448']);
  });

  it('lets anything in when nothing is there to wait for', async () => {
    const b = bench();
    const end = b.outcome(b.submit({ rows: rows(100, 100), deadline: 100 }));
    await b.clock.run();
    const { error } = await end;
    // It ran until its time was over, and not a batch longer.
    expect(error?.code).toBe('deadline_exceeded');
    expect(error?.params.deadlineMs).toBe(100);
    expect(b.engine.ran).toHaveLength(2);
  });

  it('bounds the tokens that wait, and sheds shadow work first', async () => {
    const b = bench({ limits: { queueTokens: 10_000 } });
    const running = b.submit({ rows: rows(10, 100) });
    const old = b.outcome(b.submit({ rows: rows(40, 100), lane: 'shadow' }));
    const young = b.outcome(b.submit({ rows: rows(40, 100), lane: 'shadow' }));
    const real = b.submit({ rows: rows(20, 100) });
    expect((await young).error?.code).toBe('overloaded');
    expect(b.shed).toEqual([{ reason: 'overloaded', rows: 40, lane: 'shadow' }]);
    const tooMuch = await b.outcome(b.submit({ rows: rows(200, 100) }));
    expect(tooMuch.error?.code).toBe('overloaded');
    await b.clock.run();
    expect((await running).scores).toHaveLength(10);
    expect((await real).scores).toHaveLength(20);
    expect((await old).error?.code).toBe('overloaded');
  });

  it('the bound holds whatever comes', async () => {
    const sizes = fc.array(fc.tuple(fc.integer({ min: 1, max: 60 }), fc.constantFrom<Lane>('interactive', 'shadow')));
    await fc.assert(
      fc.asyncProperty(sizes, async (jobs) => {
        const b = bench({ limits: { queueTokens: 5000 } });
        const outcomes = jobs.map(([count, lane]) => {
          const end = b.outcome(b.submit({ rows: rows(count, 100), lane }));
          expect(b.scheduler.queued().tokens).toBeLessThanOrEqual(5000);
          return end;
        });
        await b.clock.run();
        for (const { result, error } of await Promise.all(outcomes))
          expect(result !== undefined || error?.code === 'overloaded').toBe(true);
      }),
      { numRuns: 40 },
    );
  });
});

describe('scheduler: leaving early', () => {
  it('cancelled rows cost nothing unless they already run', async () => {
    const b = bench();
    const controller = new AbortController();
    const kept = b.submit({ rows: rows(5, 100, 1000) });
    const gone = b.outcome(b.submit({ rows: rows(50, 100), signal: controller.signal }));
    b.clock.after(60, () => controller.abort());
    await b.clock.run();
    expect((await gone).error?.code).toBe('client_closed');
    expect((await kept).scores[0]).toBe(1000);
    // The kept job's batch, and the one that ran when the client left.
    expect(b.engine.ran).toHaveLength(2);
    expect(b.shed).toEqual([{ reason: 'cancelled', rows: 45, lane: 'interactive' }]);
    expect(b.scheduler.queued()).toEqual({ tokens: 0, rows: 0, jobs: 0 });
  });

  it('a signal that has already aborted, and a deadline that has passed, never enter', async () => {
    const b = bench();
    b.clock.after(10, () => {});
    await b.clock.run();
    const aborted = await b.outcome(b.submit({ rows: rows(1, 10), signal: AbortSignal.abort() }));
    expect(aborted.error?.code).toBe('client_closed');
    const late = await b.outcome(b.submit({ rows: rows(1, 10), deadline: 10 }));
    expect(late.error?.code).toBe('deadline_exceeded');
    expect(b.engine.ran).toHaveLength(0);
    expect(b.shed.map((s) => s.reason)).toEqual(['cancelled', 'expired']);
  });

  it('a waiting job is rejected when its deadline passes', async () => {
    const b = bench({ cost: { fixed: 1000, perToken: 0, perSquare: 0 } });
    const running = b.submit({ rows: rows(1, 100) });
    let toldAt = 0;
    const job = b.submit({ rows: rows(1, 50), lane: 'batch', deadline: 1500 });
    const waiting = b.outcome(job).finally(() => {
      toldAt = b.clock.now();
    });
    void b.submit({ rows: rows(1, 20), priority: -1 });
    await b.clock.run();
    expect((await waiting).error?.code).toBe('deadline_exceeded');
    expect(toldAt).toBe(1500);
    expect((await running).scores).toHaveLength(1);
    expect(b.engine.ran).toHaveLength(2);
  });

  it('leaves no listener on a signal that outlives the job', async () => {
    const b = bench();
    const controller = new AbortController();
    let listeners = 0;
    const { signal } = controller;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = ((...args: Parameters<typeof add>) => {
      listeners++;
      add(...args);
    }) as typeof add;
    signal.removeEventListener = ((...args: Parameters<typeof remove>) => {
      listeners--;
      remove(...args);
    }) as typeof remove;
    void b.submit({ rows: rows(3, 10), signal });
    expect(listeners).toBe(1);
    await b.clock.run();
    expect(listeners).toBe(0);
  });

  it('any mix of cancelling, deadlines and lanes: each job ends once, each row runs at most once', async () => {
    const job = fc.record({
      count: fc.integer({ min: 1, max: 30 }),
      length: fc.integer({ min: 5, max: 300 }),
      at: fc.nat(500),
      cancelAfter: fc.option(fc.nat(500), { nil: undefined }),
      deadlineAfter: fc.option(fc.integer({ min: 1, max: 800 }), { nil: Number.POSITIVE_INFINITY }),
      lane: fc.constantFrom<Lane>('interactive', 'batch', 'shadow'),
      priority: fc.integer({ min: 0, max: 2 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(job, { maxLength: 12 }), async (jobs) => {
        const b = bench({ concurrency: 2, depth: 2 });
        const ends: Promise<{ result?: JobResult | undefined; error?: WinnowError | undefined; at: number }>[] = [];
        jobs.forEach((spec, j) => {
          b.clock.after(spec.at, () => {
            const controller = new AbortController();
            const deadline = b.clock.now() + (spec.deadlineAfter ?? Number.POSITIVE_INFINITY);
            const { lane, priority, count, length } = spec;
            const { signal } = controller;
            const promise = b.submit({ rows: rows(count, length, j * 100), lane, priority, deadline, signal });
            ends[j] = b.outcome(promise).then((end) => ({ ...end, at: b.clock.now() }));
            if (spec.cancelAfter !== undefined) b.clock.after(spec.cancelAfter, () => controller.abort());
          });
        });
        await b.clock.run();
        for (const [j, spec] of jobs.entries()) {
          const { result, error, at } = await ends[j]!;
          if (result) {
            expect([...result.scores]).toEqual(Array.from({ length: spec.count }, (_, i) => j * 100 + i));
            expect(at).toBeLessThanOrEqual(spec.at + (spec.deadlineAfter ?? Number.POSITIVE_INFINITY));
          } else expect(['client_closed', 'deadline_exceeded', 'overloaded']).toContain(error?.code);
        }
        const ran = b.engine.ran.flatMap((batch) => batch.rows.map((r) => r.score));
        expect(new Set(ran).size).toBe(ran.length);
        expect(b.scheduler.queued()).toEqual({ tokens: 0, rows: 0, jobs: 0 });
      }),
      { numRuns: 100 },
    );
  });
});

describe('scheduler: failures', () => {
  const poison = (scores: readonly FakeRow[]) => {
    const bad = scores.findIndex((r) => r.score === -1);
    if (bad >= 0) throw new WinnowError('inference_failed', { reason: `row ${bad} fails alone: bad id`, row: bad });
  };

  it('a failing row rejects only its own job, and the error has its index in that job', async () => {
    const b = bench({ fail: poison });
    const busy = b.submit({ rows: rows(1, 500) });
    const good = b.submit({ rows: rows(2, 50, 7) });
    const bad = b.outcome(b.submit({ rows: [row(48), row(49), row(50, -1)] }));
    await b.clock.run();
    expect([...(await good).scores]).toEqual([7, 8]);
    const { error } = await bad;
    expect(error?.code).toBe('inference_failed');
    expect(error?.params).toEqual({ reason: 'row 2 fails alone: bad id', row: 2 });
    expect((await busy).scores).toHaveLength(1);
    expect(b.scheduler.queued().rows).toBe(0);
  });

  it('a failed job takes its waiting rows along', async () => {
    const b = bench({ fail: poison });
    const { error } = await (async () => {
      const end = b.outcome(b.submit({ rows: [row(200, -1), ...rows(50, 100)] }));
      await b.clock.run();
      return end;
    })();
    expect(error?.code).toBe('inference_failed');
    expect(b.engine.ran).toHaveLength(1);
  });

  it('answers that arrive together are not taken for batches without cost', async () => {
    const clock = new SimulatedClock();
    /** Predicted milliseconds as a part of those in the engine. */
    const predicted: number[] = [];
    const held: (() => void)[] = [];
    const executor = {
      concurrency: 1,
      depth: 2,
      execute(_key: string, batch: readonly FakeRow[], predictedMs?: number) {
        const { promise, resolve } = Promise.withResolvers<BatchAnswer>();
        const inferMs = 0.1 * batch.reduce((sum, { ids }) => sum + ids.length, 0);
        if (predictedMs !== undefined) predicted.push(predictedMs / inferMs);
        held.push(() => resolve({ scores: new Float32Array(batch.length), inferMs }));
        // As if this process had been busy until the second batch was done too.
        if (held.length === 2)
          held.splice(0).forEach((answer, i) => {
            clock.after(2 * inferMs + 0.05 * i, answer);
          });
        return promise;
      },
    };
    const scheduler = createScheduler<FakeRow>({ executor, clock, limits: LIMITS, prior: COST });
    const job = { key: 'm@1', lane: 'interactive', deadline: Number.POSITIVE_INFINITY } as const;
    for (let round = 0; round < 8; round++) {
      const done = scheduler.submit({ ...job, rows: rows(20, 100) });
      await clock.run();
      await done;
    }
    expect(predicted.length).toBeGreaterThan(8);
    expect(Math.min(...predicted)).toBeGreaterThan(0.5);
    expect(Math.max(...predicted)).toBeLessThan(2);
  });

  it('an engine that answers with the wrong number of scores is not believed', async () => {
    const clock = new SimulatedClock();
    const executor = { concurrency: 1, execute: async () => ({ scores: new Float32Array(3), inferMs: 1 }) };
    const scheduler = createScheduler<FakeRow>({ executor, clock, limits: LIMITS });
    const job = { key: 'm@1', lane: 'interactive', deadline: Number.POSITIVE_INFINITY } as const;
    await expect(scheduler.submit({ ...job, rows: rows(2, 10) })).rejects.toThrow('expected 2 scores, got 3');
  });
});

describe('scheduler: closing', () => {
  it('refuses new jobs, finishes the ones it has, then resolves', async () => {
    const b = bench();
    const job = b.submit({ rows: rows(20, 100) });
    let closedAt = -1;
    const closed = b.scheduler.close().then(() => {
      closedAt = b.clock.now();
    });
    expect((await b.outcome(b.submit({ rows: rows(1, 10) }))).error?.code).toBe('shutting_down');
    await b.clock.run();
    await closed;
    expect(closedAt).toBeCloseTo(4 * 51, 6);
    expect((await job).scores).toHaveLength(20);
    await b.scheduler.close();
  });

  it('does not stay open for shadow work', async () => {
    const b = bench();
    const job = b.submit({ rows: rows(20, 100) });
    const shadow = b.outcome(b.submit({ rows: rows(500, 100), lane: 'shadow' }));
    const closed = b.scheduler.close();
    await b.clock.run();
    await closed;
    expect((await shadow).error?.code).toBe('shutting_down');
    expect((await job).scores).toHaveLength(20);
    expect(b.clock.now()).toBeCloseTo(4 * 51, 6);
  });

  it('closes at once where nothing is left', async () => {
    await bench().scheduler.close();
  });
});
