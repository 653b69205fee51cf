import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Cost } from '../../src/scheduling/cost-model.ts';
import { createScheduler } from '../../src/scheduling/scheduler.ts';
import { ShareClock } from '../../src/scheduling/share-clock.ts';
import { type FakeRow, row, SimulatedClock, simulatedEngine } from './simulation.ts';

const MS_A_TOKEN = 0.1;
const COST: Cost = { fixed: 0, perToken: MS_A_TOKEN, perSquare: 0 };
const TOKENS = 10;
const MS_A_ROW = TOKENS * MS_A_TOKEN;
const BATCH_ROWS = 16;

interface Sent {
  readonly share: string;
  readonly rows: number;
  readonly at: number;
}

/** Submits jobs and returns the milliseconds from submission to answer of each. */
async function run(sent: readonly Sent[], agingMs = Number.MAX_SAFE_INTEGER): Promise<readonly number[]> {
  const clock = new SimulatedClock();
  const executor = simulatedEngine(clock, { cost: COST });
  const limits = {
    batchTokens: BATCH_ROWS * TOKENS,
    batchRows: BATCH_ROWS,
    queueTokens: 1e12,
    maxWaitMs: 1e12,
    agingMs,
  };
  const scheduler = createScheduler<FakeRow>({ executor, clock, limits, prior: COST });
  const ms = sent.map(() => 0);
  sent.forEach(({ share, rows, at }, i) => {
    clock.after(at, () => {
      const job = { key: 'm@1', lane: 'interactive', share, deadline: Number.POSITIVE_INFINITY } as const;
      const answer = scheduler.submit({ ...job, rows: Array.from({ length: rows }, () => row(TOKENS)) });
      void answer.then(() => {
        ms[i] = clock.now() - at;
      });
    });
  });
  await clock.run();
  return ms;
}

/** Submits jobs at once to a scheduler whose queue holds 800 tokens; which of them it accepts. */
async function accepted(
  jobs: readonly { readonly share: string; readonly tokens: number }[],
): Promise<readonly boolean[]> {
  const clock = new SimulatedClock();
  const executor = simulatedEngine(clock, { cost: COST });
  const limits = { batchTokens: 16, batchRows: 1, queueTokens: 800, maxWaitMs: 1e12, agingMs: 1e12 };
  const scheduler = createScheduler<FakeRow>({ executor, clock, limits, prior: COST });
  const answers = jobs.map(({ share, tokens }) => {
    const job = { key: 'm@1', lane: 'interactive', share, deadline: Number.POSITIVE_INFINITY } as const;
    return scheduler.submit({ ...job, rows: [row(tokens)] }).then(
      () => true,
      () => false,
    );
  });
  await clock.run();
  return Promise.all(answers);
}

/** A batch that runs when the job comes, and one that its last rows share with others. */
const SLACK_MS = 2 * BATCH_ROWS * MS_A_ROW;

describe('shares', () => {
  it('a thousand requests of one key delay a request of another by no more than its share', async () => {
    const flood = Array.from({ length: 1000 }, () => ({ share: 'a', rows: 10, at: 0 }));
    const single = { share: 'b', rows: 100, at: 5 };
    const ms = await run([...flood, single]);
    expect(ms.at(-1)).toBeLessThanOrEqual(2 * single.rows * MS_A_ROW + SLACK_MS);
  });

  it('small requests of one key in a stream do not push a larger one of another back', async () => {
    const stream = Array.from({ length: 3000 }, (_, i) => ({ share: 'a', rows: 1, at: i / 2 }));
    const large = { share: 'b', rows: 200, at: 10 };
    const ms = await run([...stream, large]);
    expect(ms.at(-1)).toBeLessThanOrEqual(2 * large.rows * MS_A_ROW + SLACK_MS);
  });

  /** Many jobs of two keys, of which each could have a row in the batches of the other. */
  const RIDERS = [
    { share: 'a', rows: 2, count: 9 },
    { share: 'c', rows: 14, count: 5 },
    { share: 'a', rows: 5, count: 15 },
  ];
  it('a request waits for its share, whatever other keys have sent before it', async () => {
    const other = fc.record({
      share: fc.constantFrom('a', 'b', 'c'),
      rows: fc.integer({ min: 1, max: 60 }),
      count: fc.integer({ min: 1, max: 40 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(other, { maxLength: 8 }),
        fc.integer({ min: 1, max: 80 }),
        fc.nat(200),
        async (others, rows, at) => {
          const before = others.flatMap(({ share, rows: size, count }) =>
            Array.from({ length: count }, () => ({ share, rows: size, at: 0 })),
          );
          const shares = new Set(before.map(({ share }) => share)).size + 1;
          const ms = await run([...before, { share: 'z', rows, at }]);
          expect(ms.at(-1)).toBeLessThanOrEqual(shares * rows * MS_A_ROW + SLACK_MS);
        },
      ),
      { numRuns: 40, examples: [[RIDERS, 7, 115]] },
    );
  });

  it('hold while the oldest job leads every fourth batch', async () => {
    const flood = Array.from({ length: 500 }, () => ({ share: 'a', rows: 10, at: 0 }));
    const single = { share: 'b', rows: 100, at: 100 };
    const ms = await run([...flood, single], 20);
    expect(ms.at(-1)).toBeLessThanOrEqual((4 / 3) * 2 * single.rows * MS_A_ROW + SLACK_MS);
  });

  it('a key that fills the queue leaves room for small jobs of others', async () => {
    const flood = Array.from({ length: 20 }, () => ({ share: 'a', tokens: 100 }));
    const others = [
      { share: 'b', tokens: 60 },
      { share: 'b', tokens: 60 },
      { share: 'c', tokens: 101 },
      { share: 'c', tokens: 40 },
      { share: 'd', tokens: 40 },
    ];
    const all = await accepted([...flood, ...others]);
    // The first job runs at once; 800 tokens wait, and 100 more of shares that have at most 100 in the queue.
    expect(all.slice(0, 20).filter(Boolean)).toHaveLength(9);
    expect(all.slice(20)).toEqual([true, false, false, true, false]);
  });

  it('within a key, small requests still pass a large one', async () => {
    const large = { share: 'a', rows: 1000, at: 0 };
    const ms = await run([large, { share: 'b', rows: 500, at: 0 }, { share: 'a', rows: 10, at: 1 }]);
    expect(ms.at(-1)).toBeLessThanOrEqual(4 * 10 * MS_A_ROW + SLACK_MS);
  });
});

interface Shared {
  readonly share: string;
  readonly work: number;
  readonly at: number;
}

/** When jobs are finished if shares divide a unit of work in a unit of time equally, and the jobs of a share its part. */
function equalSharing(jobs: readonly Shared[]): readonly number[] {
  const left = jobs.map(({ work }) => work);
  const done = jobs.map(() => 0);
  for (let time = 0; ; ) {
    const open = jobs.flatMap(({ at }, i) => (at <= time && left[i]! > 1e-9 ? [i] : []));
    const next = Math.min(...jobs.map(({ at }) => at).filter((at) => at > time));
    if (open.length === 0 && next === Number.POSITIVE_INFINITY) return done;
    const shares = new Set(open.map((i) => jobs[i]!.share)).size;
    const rate = (i: number) => 1 / shares / open.filter((j) => jobs[j]!.share === jobs[i]!.share).length;
    const step = Math.min(next - time, ...open.map((i) => left[i]! / rate(i)));
    time += step;
    for (const i of open) {
      left[i]! -= step * rate(i);
      if (left[i]! <= 1e-9) done[i] = time;
    }
  }
}

describe('the clock of shares', () => {
  it('tells which of two jobs equal sharing finishes first', () => {
    const job = fc.record({ share: fc.constantFrom('a', 'b', 'c'), work: fc.integer({ min: 1, max: 50 }) });
    fc.assert(
      fc.property(fc.array(job, { minLength: 1, maxLength: 8 }), job, fc.nat(200), (jobs, added, at) => {
        const clock = new ShareClock();
        const waiting = jobs.map(({ share, work }) => ({ share, finish: clock.arrive(share, work).finish }));
        clock.serve(at);
        const { finishesBefore } = clock.preview(added.share, added.work);
        const ends = equalSharing([...jobs.map((one) => ({ ...one, at: 0 })), { ...added, at }]);
        const own = ends.at(-1)!;
        waiting.forEach((one, i) => {
          if (Math.abs(ends[i]! - own) > 1e-6) expect(finishesBefore(one)).toBe(own < ends[i]!);
        });
      }),
      { numRuns: 300 },
    );
  });

  it('forgets a job that leaves', () => {
    const clock = new ShareClock();
    const gone = clock.arrive('a', 100);
    clock.arrive('a', 10);
    clock.leave('a', gone);
    expect(clock.preview('b', 9).finishesBefore({ share: 'a', finish: 10 })).toBe(true);
    expect(clock.preview('b', 11).finishesBefore({ share: 'a', finish: 10 })).toBe(false);
  });
});
