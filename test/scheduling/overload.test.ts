import { describe, expect, it } from 'vitest';
import type { Cost } from '../../src/scheduling/cost-model.ts';
import { createScheduler, type SchedulingLimits } from '../../src/scheduling/scheduler.ts';
import { createRandom, type Random } from '../../src/util/random.ts';
import { type FakeRow, row, SimulatedClock, simulatedEngine } from './simulation.ts';

/*
 * Every runner has its own pipe, as inference hosts have: with two of them a batch may overtake one that was handed over before it.
 *
 * Open-loop load in simulated time: Poisson arrivals of requests whose row lengths are drawn from a log-normal cut to 20–268 tokens (mean
 * about 95), as on TREC-DL with BM25 passages.
 */

/** MiniLM-L6 int8 on one core, as measured: 100 µs a token at 96 tokens, 150 at 256. */
const CPU: Cost = { fixed: 1.5, perToken: 0.09, perSquare: 2e-4 };
/** A fast accelerator: a batch costs much, a token little. */
const ACCELERATOR: Cost = { fixed: 2, perToken: 6e-4, perSquare: 1e-6 };

const LIMITS: SchedulingLimits = {
  batchTokens: 4096,
  batchRows: 64,
  queueTokens: 4_000_000,
  maxWaitMs: 10_000,
  agingMs: 2000,
};

interface Load {
  readonly cost: Cost;
  readonly limits?: Partial<SchedulingLimits>;
  readonly concurrency: number;
  /** Passages of a request, with its share of the requests. */
  readonly sizes: readonly (readonly [passages: number, share: number])[];
  /** Arrivals as a multiple of the engine's capacity; 0 submits everything at the start, without deadlines. */
  readonly load: number;
  readonly deadlineMs: number;
  readonly durationMs: number;
  /** From half of the duration on everything takes so many times as long. */
  readonly slowdown?: number;
  /** What batches take beyond their cost, as a factor drawn for each. */
  readonly disturbance?: (random: Random) => number;
}

interface Outcome {
  /** Tokens of jobs done in time, a millisecond. */
  readonly goodput: number;
  readonly padding: number;
  readonly answered: readonly { readonly passages: number; readonly ms: number; readonly at: number }[];
  readonly refused: number;
  readonly late: number;
}

async function simulate(options: Load): Promise<Outcome> {
  const { cost, concurrency, sizes, load, deadlineMs, durationMs } = options;
  const clock = new SimulatedClock();
  const slow = (factor: number): Cost => ({
    fixed: factor * cost.fixed,
    perToken: factor * cost.perToken,
    perSquare: factor * cost.perSquare,
  });
  const present = () => slow(clock.now() < durationMs / 2 ? 1 : (options.slowdown ?? 1));
  const luck = createRandom(7);
  const disturbance = () => options.disturbance?.(luck) ?? 1;
  const executor = simulatedEngine(clock, { cost: present, concurrency, depth: 2, disturbance });
  let tokens = 0;
  let padded = 0;
  const observer = {
    onBatch: (batch: { tokens: number; paddedTokens: number }) => {
      tokens += batch.tokens;
      padded += batch.paddedTokens;
    },
  };
  const backlog = load === 0 ? { queueTokens: 1e9, maxWaitMs: 1e9 } : {};
  const limits = { ...LIMITS, ...options.limits, ...backlog };
  const scheduler = createScheduler<FakeRow>({ executor, clock, limits, observer });
  const random = createRandom(42);
  const length = () => Math.round(Math.min(268, Math.max(20, Math.exp(Math.log(84) + 0.5 * random.normal()))));
  const draw = () => {
    let u = random.next();
    let drawn = sizes[0]![0];
    for (const [passages, share] of sizes) {
      if (u >= 0) drawn = passages;
      u -= share;
    }
    return Array.from({ length: drawn }, length);
  };
  const meanPassages = sizes.reduce((sum, [passages, share]) => sum + passages * share, 0);
  const msARow = 95 * cost.perToken + 11_000 * cost.perSquare;
  const gapMs = (meanPassages * msARow) / concurrency / Math.max(load, 1e-9);
  const answered: { passages: number; ms: number; at: number }[] = [];
  let done = 0;
  let refused = 0;
  let late = 0;
  const submit = (lengths: readonly number[]) => {
    const start = clock.now();
    const deadline = load === 0 ? Number.POSITIVE_INFINITY : start + deadlineMs;
    void scheduler.submit({ key: 'm', lane: 'interactive', deadline, rows: lengths.map((l) => row(l)) }).then(
      () => {
        done += lengths.reduce((sum, l) => sum + l, 0);
        answered.push({ passages: lengths.length, ms: clock.now() - start, at: clock.now() });
      },
      (error: { code: string }) => {
        error.code === 'overloaded' ? refused++ : late++;
      },
    );
  };
  if (load === 0) for (let t = 0; t < durationMs * 1.5; t += (meanPassages * msARow) / concurrency) submit(draw());
  else
    for (let t = 0; t < durationMs; t += -Math.log(1 - random.next()) * gapMs) {
      const lengths = draw();
      clock.after(t, () => submit(lengths));
    }
  await clock.run(durationMs);
  return { goodput: (load === 0 ? tokens : done) / durationMs, padding: 1 - tokens / padded, answered, refused, late };
}

const quantile = (values: readonly number[], q: number) =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(q * values.length))]!;

const EQUAL = [[100, 1]] as const;
const MIXED = [
  [10, 0.5],
  [100, 0.45],
  [1000, 0.05],
] as const;

const CASES = {
  'CPU, 100 passages': { cost: CPU, concurrency: 2, sizes: EQUAL, deadlineMs: 5000, durationMs: 150_000 },
  'CPU, 10 to 1,000 passages': { cost: CPU, concurrency: 2, sizes: MIXED, deadlineMs: 10_000, durationMs: 200_000 },
  'accelerator, 100 passages': {
    cost: ACCELERATOR,
    concurrency: 1,
    sizes: EQUAL,
    deadlineMs: 1000,
    durationMs: 12_000,
    limits: { batchTokens: 16_384, batchRows: 256 },
  },
} satisfies Record<string, Omit<Load, 'load'>>;

/** Two cores that others use too, as seen on a shared machine. */
const DISTURBANCES = {
  'batches that take now more, now less': (random: Random) => Math.exp(0.4 * random.normal()),
  'every twentieth batch held up for six times its time': (random: Random) => (random.next() < 0.05 ? 6 : 1),
} satisfies Record<string, (random: Random) => number>;

describe('scheduler on real lengths, in simulated time', () => {
  for (const [name, setting] of Object.entries(CASES))
    it(`${name}: at three times capacity goodput stays above 95 % of it, accepted jobs are in time`, async () => {
      const capacity = (await simulate({ ...setting, load: 0 })).goodput;
      const over = await simulate({ ...setting, load: 3 });
      // What is under way when time is up has cost something and does not count: up to a deadline's worth of the duration.
      expect(over.goodput / capacity).toBeGreaterThan(0.95);
      expect(over.refused).toBeGreaterThan(0);
      const accepted = over.answered.length + over.late;
      expect(over.late / accepted).toBeLessThan(0.01);
      expect(quantile([...over.answered.map(({ ms }) => ms)], 0.99)).toBeLessThan(setting.deadlineMs);
    });

  for (const [name, disturbance] of Object.entries(DISTURBANCES))
    it(`${name}: goodput stays above 95 % of what the same machine can do, accepted jobs are in time`, async () => {
      const setting = { cost: CPU, concurrency: 2, sizes: [[20, 1]] as const, deadlineMs: 2000, durationMs: 150_000 };
      const capacity = (await simulate({ ...setting, disturbance, load: 0 })).goodput;
      const over = await simulate({ ...setting, disturbance, load: 3 });
      expect(over.goodput / capacity).toBeGreaterThan(0.95);
      // Disturbances cannot be predicted; few jobs are late because of them.
      expect(over.late / (over.answered.length + over.late)).toBeLessThan(0.08);
      expect(quantile([...over.answered.map(({ ms }) => ms)], 0.99)).toBeLessThan(setting.deadlineMs);
    });

  it('pads at most 8 % at any load on CPU, alone or under pressure', async () => {
    for (const load of [0.3, 0.8, 3])
      for (const sizes of [EQUAL, MIXED]) {
        const setting = { ...CASES['CPU, 100 passages'], sizes, durationMs: 20_000 };
        expect((await simulate({ ...setting, load })).padding).toBeLessThan(0.08);
      }
  });

  it('notices within a few batches that the machine has become six times as slow', async () => {
    const requests = { sizes: [[20, 1]] as const, deadlineMs: 2000, durationMs: 120_000 };
    const { answered, late } = await simulate({ cost: CPU, concurrency: 1, ...requests, load: 2, slowdown: 6 });
    const after = answered.filter(({ at }) => at > 65_000);
    // A request alone now takes 1.3 s of its two. Most of those let in while the cost model still remembers the past would be lost.
    expect(late).toBeLessThan(15);
    expect(after.length).toBeGreaterThan(28);
  });

  it('answers ten passages quickly whatever the thousands do', async () => {
    const setting = { ...CASES['CPU, 10 to 1,000 passages'], deadlineMs: 60_000, durationMs: 120_000 };
    const { answered } = await simulate({ ...setting, load: 3 });
    const of = (passages: number) => answered.filter((a) => a.passages === passages).map(({ ms }) => ms);
    // Alone they take 60 ms; the engine is three times overbooked, by requests of 100 and 1,000 passages for the most part.
    expect(quantile(of(10), 0.5)).toBeLessThan(400);
    expect(quantile(of(10), 0.99)).toBeLessThan(2000);
    expect(of(1000).length).toBeGreaterThan(0);
  });
});
