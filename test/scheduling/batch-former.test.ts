import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Batch, formBatch } from '../../src/scheduling/batch-former.ts';
import type { Cost } from '../../src/scheduling/cost-model.ts';
import { createQueuedJob, type QueuedJob, workRate } from '../../src/scheduling/queued-job.ts';
import { LANES, type Lane } from '../../src/scheduling/scheduling-types.ts';
import { WaitingJobs } from '../../src/scheduling/waiting-jobs.ts';

const CPU: Cost = { fixed: 1.5, perToken: 0.09, perSquare: 2e-4 };
const GPU: Cost = { fixed: 3, perToken: 5e-4, perSquare: 1e-7 };
const BUDGET = { tokens: 1024, rows: 16 };

interface Spec {
  readonly lengths: readonly number[];
  readonly key?: string;
  readonly lane?: Lane;
  readonly priority?: number;
  readonly arrived?: number;
  readonly deadline?: number;
}

/** A queue with a clock that stands where it is put. */
function bench(options: { agingMs?: number; cost?: Cost; budget?: typeof BUDGET } = {}) {
  const cost = options.cost ?? CPU;
  const waiting = new WaitingJobs<string>(options.agingMs ?? 2000);
  const load = (now: number) => ({ now, speed: 1, idle: true, inFlight: 0 });
  let sequence = 0;
  return {
    waiting,
    add(owner: string, spec: Spec): QueuedJob<string> {
      const { lengths, key = 'm@1', lane = 'interactive', priority = 0, arrived = 0 } = spec;
      const { deadline = Number.POSITIVE_INFINITY } = spec;
      const rate = workRate(cost, 512);
      const facts = { owner, sequence: sequence++, key, lane, priority, arrived, deadline, lengths, rate };
      const job = createQueuedJob(facts);
      waiting.add(job, load(arrived));
      return job;
    },
    next: (now = 0): Batch<string> | undefined => formBatch(waiting, options.budget ?? BUDGET, () => cost, load(now)),
    drain(now = 0): Batch<string>[] {
      const batches = [];
      for (let b = this.next(now); b; b = this.next(now)) batches.push(b);
      return batches;
    },
  };
}

const owners = (batch: Batch<string> | undefined) => [...new Set(batch?.rows.map((row) => row.job.owner))].sort();

const spec = fc.record({
  lengths: fc.array(fc.integer({ min: 3, max: 600 }), { minLength: 1, maxLength: 40 }),
  key: fc.constantFrom('a@1', 'a@2', 'b@1'),
  lane: fc.constantFrom(...LANES),
  priority: fc.integer({ min: -2, max: 3 }),
  deadline: fc.oneof(fc.integer({ min: 1, max: 5000 }), fc.constant(Number.POSITIVE_INFINITY)),
});

describe('batch former: properties', () => {
  it('loses no row, repeats none, keeps the budget, one model and one lane a batch', () => {
    fc.assert(
      fc.property(fc.array(spec, { maxLength: 12 }), fc.constantFrom(CPU, GPU), (specs, cost) => {
        const b = bench({ cost });
        for (const [i, s] of specs.entries()) b.add(String(i), s);
        const seen = new Set<string>();
        let lane = 0;
        for (const batch of b.drain()) {
          for (const row of batch.rows) {
            const id = `${row.job.owner}/${row.index}`;
            expect(seen.has(id)).toBe(false);
            seen.add(id);
            expect(row.job.key).toBe(batch.key);
            expect(row.job.lane).toBe(batch.lane);
            expect(row.length).toBe(specs[Number(row.job.owner)]!.lengths[row.index]);
          }
          expect(batch.length).toBe(Math.max(...batch.rows.map((row) => row.length)));
          expect(batch.tokens).toBe(batch.rows.reduce((sum, row) => sum + row.length, 0));
          expect(batch.paddedTokens).toBe(batch.rows.length * batch.length);
          expect(batch.rows.length).toBeLessThanOrEqual(BUDGET.rows);
          if (batch.rows.length > 1) expect(batch.paddedTokens).toBeLessThanOrEqual(BUDGET.tokens);
          // Lanes strictly in order while nothing ages.
          expect(LANES.indexOf(batch.lane)).toBeGreaterThanOrEqual(lane);
          lane = LANES.indexOf(batch.lane);
        }
        expect(seen.size).toBe(specs.reduce((sum, s) => sum + s.lengths.length, 0));
        expect({ rows: b.waiting.rows, tokens: b.waiting.tokens, jobs: b.waiting.jobs }).toEqual({
          rows: 0,
          tokens: 0,
          jobs: 0,
        });
      }),
      { numRuns: 200 },
    );
  });

  it('is a function of what it is given: the same queue gives the same batches', () => {
    fc.assert(
      fc.property(fc.array(spec, { maxLength: 8 }), (specs) => {
        const run = () => {
          const b = bench();
          for (const [i, s] of specs.entries()) b.add(String(i), s);
          return b.drain().map((batch) => batch.rows.map((row) => [row.job.owner, row.index]));
        };
        expect(run()).toEqual(run());
      }),
      { numRuns: 50 },
    );
  });

  it('pads at most 5 % of a batch unless all its padding costs less than one more batch', () => {
    fc.assert(
      fc.property(fc.array(spec, { minLength: 1, maxLength: 10 }), (specs) => {
        const b = bench();
        for (const [i, s] of specs.entries()) b.add(String(i), s);
        for (const batch of b.drain()) {
          const waste = batch.rows.reduce(
            (ms, { length }) => ms + (batch.length - length) * (CPU.perToken + CPU.perSquare * (batch.length + length)),
            0,
          );
          const share = 1 - batch.tokens / batch.paddedTokens;
          expect(share <= 0.05 + 1e-9 || waste <= CPU.fixed + 1e-9).toBe(true);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('jobs that are withdrawn leave no row behind, whenever they go', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(spec, fc.boolean()), { maxLength: 10 }), fc.nat(6), (plan, before) => {
        const b = bench();
        const jobs = plan.map(([s], i) => b.add(String(i), s));
        const early = Array.from({ length: before }, () => b.next());
        const served = new Map<string, number>();
        const count = (batch: Batch<string> | undefined) =>
          batch?.rows.forEach((row) => {
            served.set(row.job.owner, (served.get(row.job.owner) ?? 0) + 1);
          });
        early.forEach(count);
        const frozen = new Map(served);
        for (const [i, job] of jobs.entries()) if (plan[i]![1]) b.waiting.remove(job);
        b.drain().forEach(count);
        plan.forEach(([s, gone], i) => {
          const rows = served.get(String(i)) ?? 0;
          expect(rows).toBe(gone ? (frozen.get(String(i)) ?? 0) : s.lengths.length);
        });
        expect(b.waiting.rows).toBe(0);
      }),
      { numRuns: 200 },
    );
  });
});

describe('batch former: order', () => {
  const ten = { lengths: Array(10).fill(100) as number[] };
  const thousand = { lengths: Array(1000).fill(100) as number[] };

  it('a thousand passages do not keep ten waiting', () => {
    const b = bench();
    b.add('big', thousand);
    b.next();
    b.next();
    b.add('small', ten);
    const batches = b.drain();
    const last = batches.findLastIndex((batch) => owners(batch).includes('small'));
    // 10 rows of 100 tokens are two batches of at least 512 tokens; equal sharing would allow four.
    expect(last).toBeLessThanOrEqual(3);
  });

  it('a stream of tens that would fill the engine does not starve a thousand', () => {
    const b = bench({ agingMs: 1000 });
    b.add('big', thousand);
    let batches = 0;
    let smallRows = 0;
    let bigRows = 0;
    for (let small = 0; bigRows < 1000 && batches < 5000; batches++) {
      const now = batches * 50;
      while (smallRows >= 10 * (small - 1)) b.add(`small${small++}`, { ...ten, arrived: now });
      for (const row of b.next(now)!.rows) row.job.owner === 'big' ? bigRows++ : smallRows++;
    }
    expect(bigRows).toBe(1000);
    // 200 batches of five rows, one in four once it has waited for a second (20 batches).
    expect(batches).toBeLessThanOrEqual(4 * 200 + 20);
    expect(smallRows).toBeGreaterThan(2 * bigRows);
  });

  it('no job waits for more than equal sharing among those present plus one batch', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(sizes, (counts) => {
        const b = bench();
        for (const [i, rows] of counts.entries()) b.add(String(i), { lengths: Array(rows).fill(64) as number[] });
        let served = 0;
        const doneAt = new Map<string, number>();
        for (const batch of b.drain()) {
          served += batch.rows.length;
          for (const row of batch.rows) doneAt.set(row.job.owner, served);
        }
        counts.forEach((rows, i) => {
          const shared = counts.reduce((sum, other) => sum + Math.min(other, rows), 0);
          // A batch is at most 8 rows of 64 tokens here, and may hold rows of others.
          expect(doneAt.get(String(i))!).toBeLessThanOrEqual(shared + 8 * counts.length);
        });
      }),
      { numRuns: 200 },
    );
  });

  it('the smaller priority number leads; the larger gets every fourth batch once it has waited for agingMs', () => {
    const b = bench({ agingMs: 1000 });
    b.add('later', { lengths: Array(40).fill(100) as number[], priority: 5 });
    b.add('sooner', { ...thousand, priority: 1 });
    const leads = (now: number) => Array.from({ length: 8 }, () => b.next(now)!.lead.owner);
    expect(leads(999)).toEqual(Array(8).fill('sooner'));
    expect(leads(1000).filter((owner) => owner === 'later')).toHaveLength(2);
  });

  it('a batch-lane job counts as interactive after agingMs, a shadow job never does', () => {
    const b = bench({ agingMs: 1000 });
    b.add('shadow', { ...ten, lane: 'shadow' });
    b.add('offline', { ...ten, lane: 'batch' });
    b.add('online', { ...thousand, arrived: 500 });
    for (let i = 0; i < 8; i++) expect(owners(b.next(999))).toEqual(['online']);
    // From here the two share one lane, and ten passages go before a thousand.
    const promoted = b.next(1000)!;
    expect([promoted.lane, promoted.lead.owner]).toEqual(['interactive', 'offline']);
    const rest = b.drain(1_000_000).map(owners);
    expect(rest.findIndex((o) => o.includes('shadow'))).toBe(rest.length - 2);
    expect(rest.slice(-2).every((o) => o.join() === 'shadow')).toBe(true);
  });

  it('a job that cannot make its deadline any more makes way for those that can', () => {
    const b = bench();
    b.add('lost', { lengths: Array(20).fill(100) as number[], deadline: 700 });
    b.add('fine', { lengths: Array(40).fill(100) as number[], deadline: 5000 });
    // 20 rows of 100 tokens take 230 ms.
    expect(b.next(400)!.lead.owner).toBe('lost');
    expect(b.next(600)!.lead.owner).toBe('fine');
    const leads = b.drain(600).map((batch) => batch.lead.owner);
    expect(leads.lastIndexOf('fine')).toBeLessThan(leads.indexOf('lost'));
  });
});

describe('batch former: what goes together', () => {
  it('a row longer than the budget goes alone', () => {
    const b = bench();
    b.add('long', { lengths: [5000, 20, 4000] });
    const sizes = b.drain().map((batch) => batch.rows.map((row) => row.length));
    expect(sizes).toEqual([[5000], [4000], [20]]);
  });

  it('groups rows by length', () => {
    const b = bench();
    b.add('mixed', { lengths: [30, 200, 31, 198, 29, 202] });
    expect(b.drain().map((batch) => batch.rows.map((row) => row.length))).toEqual([[202, 200], [198], [31, 30, 29]]);
  });

  it('where a batch costs much and tokens little, it takes all that fits', () => {
    const b = bench({ cost: GPU, budget: { tokens: 4096, rows: 64 } });
    b.add('one', { lengths: Array.from({ length: 20 }, (_, i) => 20 + 9 * i) });
    b.add('two', { lengths: Array.from({ length: 10 }, (_, i) => 20 + 9 * i) });
    const batches = b.drain();
    expect(batches).toHaveLength(2);
    expect(owners(batches[0])).toEqual(['one', 'two']);
  });

  it('rows of other jobs fill a batch that is too small to be efficient, and no more', () => {
    const b = bench();
    b.add('other', { lengths: Array(50).fill(60) as number[] });
    b.add('lead', { lengths: [60] });
    const batch = b.next()!;
    expect(batch.lead.owner).toBe('lead');
    expect(owners(batch)).toEqual(['lead', 'other']);
    // 19 × 1.5 ms of fixed cost over .102 ms a token: 279 tokens, four rows of 60.
    expect(batch.rows).toHaveLength(4);
  });
});
