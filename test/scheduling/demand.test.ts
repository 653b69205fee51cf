import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { WinnowError } from '../../src/errors.ts';
import type { Cost } from '../../src/scheduling/cost-model.ts';
import { DemandMeter } from '../../src/scheduling/demand.ts';
import { createScheduler, type SchedulingLimits } from '../../src/scheduling/scheduler.ts';
import type { Job } from '../../src/scheduling/scheduling-types.ts';
import { createRandom } from '../../src/util/random.ts';
import { type EngineOptions, type FakeRow, row, SimulatedClock, simulatedEngine } from './simulation.ts';

const RATES: Readonly<Record<string, { linear: number; square: number }>> = {
  a: { linear: 0.1, square: 0.001 },
  b: { linear: 2, square: 0 },
};
const rate = (key: string) => RATES[key]!;

type Event = { readonly at: number; readonly key: string; readonly lengths: readonly number[]; readonly ms?: number };

/** The definition, computed from the list of everything that happened. */
function naive(events: readonly Event[], runners: number, now: number): number {
  const first = (Math.floor(now / 1000) - 59) * 1000;
  const inWindow = events.filter(({ at }) => at >= first && at <= now);
  const work = (key: string, ran: boolean) =>
    inWindow
      .filter((e) => e.key === key && (e.ms !== undefined) === ran)
      .flatMap(({ lengths }) => lengths)
      .reduce((sum, n) => sum + rate(key).linear * n + rate(key).square * n * n, 0);
  let offered = 0;
  for (const key of Object.keys(RATES)) {
    const ms = inWindow.filter((e) => e.key === key).reduce((sum, e) => sum + (e.ms ?? 0), 0);
    const ran = work(key, true);
    offered += work(key, false) * (ran > 0 ? ms / ran : 1);
  }
  return offered / (runners * (now - first));
}

describe('demand meter', () => {
  it('is what its definition says, whenever it is read', () => {
    const event = fc.record({
      gap: fc.oneof({ weight: 9, arbitrary: fc.nat(4000) }, { weight: 1, arbitrary: fc.nat(200_000) }),
      key: fc.constantFrom('a', 'b'),
      lengths: fc.array(fc.integer({ min: 1, max: 512 }), { minLength: 1, maxLength: 5 }),
      ms: fc.option(fc.integer({ min: 1, max: 5000 }), { nil: undefined }),
    });
    fc.assert(
      fc.property(
        fc.array(event, { maxLength: 80 }),
        fc.nat(100_000),
        fc.integer({ min: 1, max: 8 }),
        (drawn, startedAt, runners) => {
          let now = startedAt;
          const meter = new DemandMeter({ clock: { now: () => now }, runners: () => runners, rate });
          const events: Event[] = [];
          for (const { gap, key, lengths, ms } of drawn) {
            now += gap;
            events.push(ms === undefined ? { at: now, key, lengths } : { at: now, key, lengths, ms });
            const rows = lengths.map((length) => ({ ids: { length }, length }));
            if (ms === undefined) meter.offer(key, rows);
            else meter.ran(key, rows, ms);
            const expected = naive(events, runners, now);
            expect(Math.abs(meter.ratio() - expected)).toBeLessThanOrEqual(1e-9 * Math.max(1, expected));
          }
          now += 61_000;
          expect(meter.ratio()).toBe(0);
        },
      ),
    );
  });

  /** A meter whose clock and runners are set by hand. */
  const byHand = (runners: number) => {
    const at = { now: 0, runners };
    return { at, meter: new DemandMeter({ clock: { now: () => at.now }, runners: () => at.runners, rate }) };
  };

  it('counts a request refused unread as the average job', () => {
    const { at, meter } = byHand(1);
    meter.noteUnread();
    expect(meter.ratio()).toBe(0);
    for (const length of [100, 300]) meter.offer('b', [{ ids: { length } }]);
    at.now = 20_000;
    expect(meter.ratio()).toBeCloseTo((800 * 1.5) / 59_000, 12);
  });

  it('takes the runners that are alive as capacity, one at least', () => {
    const { at, meter } = byHand(4);
    meter.offer('b', [{ ids: { length: 10_000 } }]);
    at.now = 20_000;
    expect(meter.ratio()).toBeCloseTo(20_000 / (59 * 4000), 12);
    Object.assign(at, { now: 21_000, runners: 0 });
    meter.ratio();
    at.now = 41_000;
    // Of the seconds in the window, those up to 20 had four runners; from 21 on one counts.
    expect(meter.ratio()).toBeCloseTo(20_000 / (39 * 4000 + 20 * 1000), 12);
  });
});

const COST: Cost = { fixed: 1.5, perToken: 0.09, perSquare: 2e-4 };
const LIMITS: SchedulingLimits = {
  batchTokens: 4096,
  batchRows: 64,
  queueTokens: 20_000,
  maxWaitMs: 1000,
  agingMs: 2000,
};

interface Traffic extends Partial<Omit<EngineOptions, 'cost'>> {
  readonly cost?: Cost;
  /** Arrivals as a multiple of capacity. */
  readonly load: number;
  readonly job?: Partial<Job<FakeRow>>;
  readonly limits?: Partial<SchedulingLimits>;
  readonly deadlineMs?: number;
  readonly prior?: Cost;
  readonly seconds?: number;
}

/** Jobs of 20 rows in an open loop, with the cost of an engine that is never idle as the measure of capacity. */
async function drive(traffic: Traffic) {
  const { load, job = {}, limits, deadlineMs = 2000, prior, seconds = 90, cost = COST, concurrency = 2 } = traffic;
  const clock = new SimulatedClock();
  const engine = simulatedEngine(clock, { depth: 2, ...traffic, cost, concurrency });
  const scheduler = createScheduler<FakeRow>({
    executor: engine,
    clock,
    limits: { ...LIMITS, ...limits },
    ...(prior ? { prior } : {}),
  });
  const random = createRandom(11);
  const refusals = new Map<string, number>();
  let most = 0;
  // 512 tokens of rows of 64 to 128 tokens make a batch.
  const msAJob = 20 * (96 * cost.perToken + 9600 * cost.perSquare) + (20 * 96 * cost.fixed) / 512;
  for (let t = 0; t < seconds * 1000; t += (-Math.log(1 - random.next()) * msAJob) / concurrency / load) {
    const rows = Array.from({ length: 20 }, () => row(64 + Math.floor(65 * random.next())));
    clock.after(t, () => {
      const facts = { key: 'm@1', lane: 'interactive', deadline: clock.now() + deadlineMs, rows } as const;
      scheduler.submit({ ...facts, ...job }).catch((error: WinnowError) => {
        refusals.set(error.code, (refusals.get(error.code) ?? 0) + 1);
      });
      most = Math.max(most, scheduler.queued().jobs);
    });
  }
  await clock.run(seconds * 1000);
  return { demand: scheduler.demand.ratio(), refusals, mostWaiting: most, scheduler, clock };
}

describe('demand of a scheduler, in simulated time', () => {
  it.each([0.2, 0.5, 0.9, 1.5, 3, 10])('is %s at that multiple of capacity, whatever is refused', async (load) => {
    const { demand, refusals } = await drive({ load });
    expect(demand / load).toBeGreaterThan(0.9);
    expect(demand / load).toBeLessThan(1.1);
    if (load !== 0.9) expect(refusals.size > 0).toBe(load > 1);
  });

  it('counts what is refused for each reason', async () => {
    const reasons = {
      'a full queue': { limits: { queueTokens: 6000, maxWaitMs: 1e9 }, deadlineMs: 1e9 },
      'the predicted wait': { limits: { maxWaitMs: 100 }, deadlineMs: 1e9 },
      'a deadline that cannot be met': { deadlineMs: 300 },
      'deadlines that pass while the prior says there is time': {
        deadlineMs: 300,
        prior: { fixed: 0, perToken: 1e-5, perSquare: 0 },
      },
    } satisfies Record<string, Partial<Traffic>>;
    for (const [name, reason] of Object.entries(reasons)) {
      const { demand, mostWaiting } = await drive({ load: 3, ...reason });
      expect(demand, name).toBeGreaterThan(2.6);
      expect(demand, name).toBeLessThan(3.4);
      expect(mostWaiting, name).toBeLessThan(60);
    }
  });

  it('follows the speed that batches have, not the one that was assumed', async () => {
    const load = 2;
    for (const factor of [0.01, 100]) {
      const prior = { fixed: 1.5 * factor, perToken: 0.09 * factor, perSquare: 2e-4 * factor };
      expect((await drive({ load, prior })).demand / load).toBeCloseTo(1, 0);
    }
    const slow = await drive({ load, disturbance: () => 3 });
    expect(slow.demand / (3 * load)).toBeGreaterThan(0.85);
    expect(slow.demand / (3 * load)).toBeLessThan(1.15);
  });

  it('counts the batch lane, and neither shadow work nor checks of the server', async () => {
    expect((await drive({ load: 2, job: { lane: 'batch' } })).demand).toBeGreaterThan(1.5);
    expect((await drive({ load: 2, job: { lane: 'shadow' } })).demand).toBe(0);
    expect((await drive({ load: 2, job: { isCheck: true } })).demand).toBe(0);
  });

  it('falls to 0 within a minute after the last request, and stays there', async () => {
    const { scheduler, clock } = await drive({ load: 3 });
    await clock.run(clock.now() + 30_000);
    expect(scheduler.demand.ratio()).toBeGreaterThan(1);
    await clock.run(clock.now() + 31_000);
    expect(scheduler.demand.ratio()).toBe(0);
  });

  it('counts work that arrives after its deadline, and none of a scheduler that drains', async () => {
    const late = await drive({ load: 1, job: { deadline: -1 } });
    expect([...late.refusals.keys()]).toEqual(['deadline_exceeded']);
    expect(late.demand).toBeGreaterThan(0.3);
    const clock = new SimulatedClock();
    const closed = createScheduler<FakeRow>({
      executor: simulatedEngine(clock, { cost: COST }),
      clock,
      limits: LIMITS,
    });
    await closed.close();
    await closed.submit({ key: 'm', lane: 'interactive', deadline: 1e9, rows: [row(9)] }).catch(() => {});
    expect(closed.demand.ratio()).toBe(0);
  });
});
