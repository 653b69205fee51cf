import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LoadClient } from '../../bench/load/client.ts';
import { sortedBatches } from '../../bench/load/engine.ts';
import { percentile, summarize, table } from '../../bench/load/figures.ts';
import { closedLoop, openLoop, type Run } from '../../bench/load/loops.ts';
import { operatorShares } from '../../bench/load/operator-profile.ts';
import { residentBytes } from '../../bench/load/processes.ts';
import { loadTopics, requestStream, wideRequest } from '../../bench/load/requests.ts';

/*
 * The arithmetic of the benchmarks: a wrong percentile would make a slow server look fast.
 */

const answering = (status: number): LoadClient & { readonly sent: number[] } => {
  const sent: number[] = [];
  return {
    sent,
    async rerank({ passages }) {
      sent.push(passages.length);
      return { status, headers: {} };
    },
    close() {},
  };
};

describe('percentile', () => {
  it('is the nearest rank', () => {
    const values = [15, 20, 35, 40, 50];
    expect([5, 30, 40, 50, 100].map((p) => percentile(values, p))).toEqual([15, 20, 20, 35, 50]);
    expect(percentile([], 50)).toBeNaN();
  });

  it('is a value of the list, and never falls as p grows', () => {
    const numbers = fc.array(fc.double({ noNaN: true }), { minLength: 1 });
    fc.assert(
      fc.property(numbers, fc.integer({ min: 0, max: 99 }), (values, p) => {
        expect(values).toContain(percentile(values, p));
        expect(percentile(values, p)).toBeLessThanOrEqual(percentile(values, p + 1));
      }),
    );
  });
});

describe('summary', () => {
  const run: Run = {
    seconds: 10,
    arrivalSeconds: 5,
    samples: [
      { status: 200, ms: 100, passages: 10 },
      { status: 200, ms: 900, passages: 20 },
      { status: 429, ms: 1, passages: 10 },
      { status: 504, ms: 500, passages: 10, error: 'deadline_exceeded' },
    ],
  };

  it('counts what was answered, refused and failed apart', () => {
    expect(summarize(run)).toMatchObject({ requests: 4, answered: 2, refused: 1, failed: 1 });
    expect(summarize(run).firstError).toBe('504 deadline_exceeded');
  });

  it('takes goodput over the time of arrivals, throughput over the whole', () => {
    expect(summarize(run, 500)).toMatchObject({ goodput: 2, pairsPerSecond: 3 });
    expect(summarize(run, 1000).goodput).toBe(6);
  });
});

it('a table is Markdown with columns of one width', () => {
  expect(table(['a', 'number'], [['long name', '1']])).toBe(
    '| a         | number |\n|-----------|-------:|\n| long name |      1 |',
  );
});

describe('loops', () => {
  it('the closed loop sends every request once and ends with the list', async () => {
    const client = answering(200);
    const requests = [1, 2, 3, 4, 5].map((n) => ({ query: 'q', passages: Array(n).fill('p') }));
    const { samples } = await closedLoop(client, requests[Symbol.iterator](), { concurrency: 2, until: () => false });
    expect(client.sent.toSorted()).toEqual([1, 2, 3, 4, 5]);
    expect(samples).toHaveLength(5);
  });

  it('the open loop sends about rate × seconds requests, the same ones for the same seed', async () => {
    const send = async (seed: number) => {
      const client = answering(200);
      const stream = requestStream([{ query: 'q', passages: ['a', 'b'] }], 1, 1);
      await openLoop(client, stream, { rate: 2000, seconds: 0.25, seed });
      return client.sent.length;
    };
    const [first, again, other] = [await send(3), await send(3), await send(4)];
    expect(again).toBe(first);
    expect(other).not.toBe(first);
    // 500 arrivals in the mean, standard deviation 22.
    expect(Math.abs(first - 500)).toBeLessThan(120);
  });
});

describe('requests', () => {
  it('a stream yields every piece of every list before it repeats one', () => {
    const topics = [
      { query: 'a', passages: ['a1', 'a2', 'a3', 'a4'] },
      { query: 'b', passages: ['b1', 'b2', 'b3', 'b4'] },
    ];
    const stream = requestStream(topics, 2, 9);
    const round = () => Array.from({ length: 4 }, () => stream.next().value.passages.join('+')).toSorted();
    expect(round()).toEqual(['a1+a2', 'a3+a4', 'b1+b2', 'b3+b4']);
    expect(round()).toEqual(['a1+a2', 'a3+a4', 'b1+b2', 'b3+b4']);
  });

  it('made-up passages spread in length as real ones do', () => {
    const { source, topics } = loadTopics('/nowhere.json');
    expect(source).toBe('synthetic passages');
    const words = topics.flatMap(({ passages }) => passages.map((text) => text.split(' ').length));
    expect(percentile(words, 50)).toBeGreaterThan(40);
    expect(percentile(words, 50)).toBeLessThan(90);
    expect(percentile(words, 95) / percentile(words, 5)).toBeGreaterThan(2.5);
    expect(wideRequest(topics, 1000).passages).toHaveLength(1000);
  });
});

it('batches of the bare engine hold every row once and keep the budget', () => {
  const lengths = fc.array(fc.integer({ min: 1, max: 200 }), { maxLength: 80 });
  fc.assert(
    fc.property(lengths, fc.integer({ min: 200, max: 4000 }), fc.integer({ min: 1, max: 64 }), (all, tokens, rows) => {
      const batches = sortedBatches(
        all.map((length) => ({ ids: Array(length).fill(1), secondSegment: 1 })),
        { tokens, rows },
      );
      const sizes = batches.flatMap((batch) => batch.map(({ ids }) => ids.length));
      expect(sizes).toEqual(all.toSorted((a, b) => b - a));
      for (const batch of batches) {
        expect(batch.length).toBeLessThanOrEqual(rows);
        expect(batch.length * batch[0]!.ids.length).toBeLessThanOrEqual(tokens);
      }
    }),
  );
});

it('memory of a process tree holds at least that of the process', () => {
  expect(residentBytes(process.pid)).toBeGreaterThan(10_000_000);
});

describe('operatorShares', () => {
  it('adds up kernels by operator, the largest first, and leaves out small ones and other events', () => {
    const kernel = (op_name: string, dur: number) => ({ cat: 'Node', name: 'n_kernel_time', dur, args: { op_name } });
    const session = { cat: 'Session', name: 'model_run', dur: 900 };
    const fence = { cat: 'Node', name: 'n_fence_before', dur: 900, args: { op_name: 'Add' } };
    const events = [
      session,
      kernel('Add', 20),
      kernel('MatMul', 40),
      fence,
      kernel('MatMul', 139.5),
      kernel('Neg', 0.5),
    ];
    expect(operatorShares(events)).toBe('MatMul 90 %, Add 10 %');
  });
});
