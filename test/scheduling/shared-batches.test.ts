import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Batch, formBatch } from '../../src/scheduling/batch-former.ts';
import type { Cost } from '../../src/scheduling/cost-model.ts';
import { createQueuedJob, workRate } from '../../src/scheduling/queued-job.ts';
import { WaitingJobs } from '../../src/scheduling/waiting-jobs.ts';

/* Batches that rows of several requests fill in turn (fillInTurn). A token costs so much that nothing else fills a batch. */

const COST: Cost = { fixed: 0, perToken: 100, perSquare: 0 };
const BUDGET = { tokens: 4096, rows: 64 };
/** Padded tokens that a batch is filled to in turn. */
const FULL = 512;

interface Spec {
  readonly lengths: readonly number[];
  readonly key?: string;
  readonly share?: string;
  readonly priority?: number;
  readonly deadline?: number;
}

function queue(cost = COST) {
  const waiting = new WaitingJobs<string>(1e9);
  const load = { now: 0, speed: 1, idle: true, inFlight: 0 };
  let sequence = 0;
  return {
    add(owner: string, { lengths, key = 'm', share = '', priority = 0, deadline = Number.POSITIVE_INFINITY }: Spec) {
      const facts = { owner, sequence: sequence++, key, share, lane: 'interactive', priority, arrived: 0 } as const;
      waiting.add(createQueuedJob({ ...facts, deadline, lengths, rate: workRate(cost, 512) }), load);
    },
    next: (): Batch<string> | undefined => formBatch(waiting, BUDGET, () => cost, load),
    drain(): Batch<string>[] {
      const batches = [];
      for (let batch = this.next(); batch; batch = this.next()) batches.push(batch);
      return batches;
    },
  };
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
const owners = (batch: Batch<string>) => batch.rows.map((row) => row.job.owner);
const lists = (longest: number) =>
  fc.array(fc.array(fc.integer({ min: 10, max: longest }), { minLength: 1, maxLength: 30 }), {
    minLength: 1,
    maxLength: 9,
  });

/** Returns the tokens served when each job is done, by owner. */
function doneAt(batches: readonly Batch<string>[]): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  let served = 0;
  for (const batch of batches) {
    served += batch.tokens;
    for (const owner of owners(batch)) found.set(owner, served);
  }
  return found;
}

describe('rows of several requests in one batch', () => {
  it('delay no job beyond equal sharing, but for a batch and a row of each job', () => {
    fc.assert(
      fc.property(lists(200), (jobs) => {
        const b = queue();
        for (const [i, lengths] of jobs.entries()) b.add(String(i), { lengths });
        const done = doneAt(b.drain());
        const works = jobs.map(sum);
        works.forEach((own, i) => {
          const shared = sum(works.map((work) => Math.min(work, own)));
          expect(done.get(String(i))!).toBeLessThanOrEqual(shared + FULL + 200 * jobs.length);
        });
      }),
      { numRuns: 300 },
    );
  });

  it('delay no key beyond its equal part, whatever the number of requests of others', () => {
    fc.assert(
      fc.property(
        lists(200),
        fc.array(fc.integer({ min: 10, max: 200 }), { minLength: 1, maxLength: 30 }),
        (jobs, own) => {
          const b = queue();
          for (const [i, lengths] of jobs.entries()) b.add(`other ${i}`, { lengths, share: 'others' });
          b.add('own', { lengths: own, share: 'own' });
          const work = sum(own);
          const others = sum(jobs.map(sum));
          const most = work + Math.min(work, others) + FULL + 200 * (jobs.length + 1);
          expect(doneAt(b.drain()).get('own')!).toBeLessThanOrEqual(most);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('lose no row, repeat none, are of one model, padded by at most 2 % and within the target', () => {
    const key = fc.constantFrom('a', 'b');
    fc.assert(
      fc.property(lists(600), fc.array(key, { minLength: 9, maxLength: 9 }), (jobs, keys) => {
        const b = queue();
        for (const [i, lengths] of jobs.entries()) b.add(String(i), { lengths, key: keys[i]! });
        const batches = b.drain();
        const seen = batches.flatMap(({ rows }) => rows.map((row) => `${row.job.owner}/${row.index}`));
        expect(seen.toSorted()).toEqual(jobs.flatMap((lengths, i) => lengths.map((_, r) => `${i}/${r}`)).toSorted());
        for (const { rows, key: of, tokens, paddedTokens } of batches) {
          expect(rows.every(({ job }) => job.key === of)).toBe(true);
          expect(1 - tokens / paddedTokens).toBeLessThanOrEqual(0.02 + 1e-9);
          // The padding that a longer last row adds to the others is small, and not counted.
          if (rows.length > 1) expect(paddedTokens).toBeLessThanOrEqual(1.03 * FULL);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('are full where requests have rows of like length, and of the lead alone where they have none', () => {
    const b = queue();
    for (const owner of ['a', 'b', 'c', 'd']) b.add(owner, { lengths: [120, 80] });
    expect(owners(b.next()!).toSorted()).toEqual(['a', 'b', 'c', 'd']);
    const apart = queue();
    apart.add('a', { lengths: [120, 80] });
    apart.add('b', { lengths: [100, 60, 60] });
    expect(apart.drain().map(owners)).toEqual([['a'], ['a'], ['b'], ['b', 'b']]);
  });

  it('are not of requests with a larger priority number', () => {
    const b = queue();
    b.add('first', { lengths: [100, 50] });
    b.add('later', { lengths: [100, 50], priority: 1 });
    expect(b.drain().map(owners)).toEqual([['first'], ['first'], ['later'], ['later']]);
  });

  it('are not of requests behind one that would miss its deadline by the delay', () => {
    const order = (deadline: number) => {
      const b = queue({ ...COST, perToken: 1 });
      b.add('lead', { lengths: [100, 50] });
      b.add('due', { lengths: [300], deadline });
      b.add('other', { lengths: [100, 100, 100, 100] });
      return owners(b.next()!);
    };
    // A token takes a millisecond: the lead and the request that is due take 450, of which the deadline reserves a tenth.
    expect(order(600)).toEqual(['lead']);
    expect(order(5000)).toEqual(['lead', 'other']);
  });
});
