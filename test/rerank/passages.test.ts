import { describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import type { ExperimentHook, FinishedRequest, FinishedShadow } from '../../src/experiments/ports.ts';
import { createPassageCache } from '../../src/passages/passage-cache.ts';
import type { PassageSharing } from '../../src/rerank/kept-passages.ts';
import type { RerankRequest } from '../../src/rerank/rerank-types.ts';
import { createReranker } from '../../src/rerank/reranker.ts';
import { createScoreCache } from '../../src/rerank/score-cache.ts';
import { createScorer } from '../../src/rerank/scorer.ts';
import { ask, type FakeModel, type FakeService, openFakeService, settle } from './fake-service.ts';

/** A bi-encoder whose vectors are single numbers. */
const encoder = { queryPrefix: '1 ', passagePrefix: '2 ', scale: 0.5 };
const bi: FakeModel = { factor: 0.1, encoder };

const open = (shared = false): PassageSharing => ({ cache: createPassageCache({ bytes: 2 ** 20 }), shared });

/** Opens a service with a bi-encoder `e` and a cross-encoder `x`. */
const serviceOf = (more: Readonly<Record<string, FakeModel>> = {}) =>
  openFakeService({ e: bi, x: { factor: 1 }, ...more });

const rowsOf = ({ log }: FakeService) => log.batches.splice(0).map(({ key, rows }) => `${key} ${rows}`);

const TEXTS = ['4', '5 6', '7', '5 6'];

describe('a bi-encoder with a passage cache', () => {
  it('runs the query and the passages that it has not seen, and gives the same scores', async () => {
    const without = serviceOf();
    const plain = await settle(without, createReranker({ ...without }).rerank(ask(TEXTS)));
    expect(rowsOf(without)).toEqual(['e@1 4']);
    expect(plain.value).not.toHaveProperty('kept');

    const service = serviceOf();
    const passages = open();
    const reranker = createReranker({ ...service, passages });
    const first = await settle(service, reranker.rerank(ask(TEXTS)));
    expect(rowsOf(service)).toEqual(['e@1 4']);
    expect(first.value).toMatchObject({ kept: { hits: 0, misses: 4 }, tokens: plain.value!.tokens });
    expect(passages.cache.stats().models[0]!.encodeMs).toBeGreaterThan(0);
    expect(first.value!.ranking).toEqual(plain.value!.ranking);

    const second = await settle(service, reranker.rerank(ask(['9', ...TEXTS, '4'])));
    expect(rowsOf(service)).toEqual(['e@1 2']);
    expect(second.value!.kept).toMatchObject({ hits: 5, misses: 1 });
    const scores = new Map(second.value!.ranking.map(({ index, score }) => [index, score]));
    for (const { index, score } of plain.value!.ranking) expect(scores.get(index + 1)).toBe(score);

    const third = await settle(service, reranker.rerank(ask(TEXTS, { query: 'other' })));
    expect(rowsOf(service)).toEqual(['e@1 1']);
    expect(third.value!.kept).toMatchObject({ hits: 4, misses: 0 });
    // Query "other" behind its prefix: 0 0 1 5.
    expect(third.value!.tokens).toBe(5);
  });

  it('does not look passages up that a cross-encoder reads, nor for the check of the server itself', async () => {
    const service = serviceOf();
    const passages = open();
    const reranker = createReranker({ ...service, passages });
    const cross = await settle(service, reranker.rerank(ask(TEXTS, { model: 'x' })));
    expect(cross.value).not.toHaveProperty('kept');
    for (const _ of [1, 2]) await settle(service, reranker.rerank(ask(TEXTS, { isCheck: true })));
    expect(rowsOf(service)).toEqual(['x@1 3', 'e@1 4', 'e@1 4']);
    expect(passages.cache.stats().entries).toBe(0);
  });

  it('is not asked for scores that are known', async () => {
    const service = serviceOf();
    const scoreCache = createScoreCache({ bytes: 1e5 });
    const reranker = createReranker({ ...service, passages: open(), scoreCache });
    await settle(service, reranker.rerank(ask(TEXTS)));
    const again = await settle(service, reranker.rerank(ask(TEXTS)));
    expect(again.value).not.toHaveProperty('kept');
    expect(again.value).toMatchObject({ tokens: 0 });
    const more = await settle(service, reranker.rerank(ask([...TEXTS, '8'])));
    expect(more.value!.kept).toMatchObject({ hits: 0, misses: 1 });
  });

  it('serves offline scoring too', async () => {
    const service = serviceOf();
    const scorer = createScorer({ ...service, passages: open() });
    const lists = ['a', 'b', 'c'].map((query) => ({ query, passages: TEXTS }));
    const run = async () => {
      let count = 0;
      for await (const { scores } of scorer.score(lists, { passagesAhead: 1 })) count += scores.length;
      return count;
    };
    expect((await settle(service, run())).value).toBe(12);
    expect(rowsOf(service)).toEqual(['e@1 4', 'e@1 1', 'e@1 1']);
  });
});

describe('a version that was replaced by one with other data in the same file', () => {
  it('shares neither passages nor scores with the one before', async () => {
    const service = serviceOf();
    let graphId = 'first';
    const registry = {
      async acquire(reference?: string) {
        const lease = await service.registry.acquire(reference);
        return { version: { ...lease.version, graphId }, release: () => lease.release() };
      },
    };
    const scoreCache = createScoreCache({ bytes: 1e5 });
    const reranker = createReranker({ ...service, registry, passages: open(), scoreCache });
    for (graphId of ['first', 'second', 'first']) await settle(service, reranker.rerank(ask(TEXTS)));
    for (graphId of ['first', 'second', 'first'])
      await settle(service, reranker.rerank(ask(TEXTS, { query: 'other' })));
    expect(rowsOf(service)).toEqual(['e@1 4', 'e@1 4', 'e@1 1', 'e@1 1']);
  });
});

describe('tenants', () => {
  it.each([
    [false, ['e@1 4', 'e@1 4', 'e@1 1']],
    [true, ['e@1 4', 'e@1 1', 'e@1 1']],
  ])('share entries only where that is set: %s', async (shared, expected) => {
    const service = serviceOf();
    const reranker = createReranker({ ...service, passages: open(shared) });
    for (const key of ['shop', 'bank', 'shop'])
      await settle(service, reranker.rerank(ask(TEXTS, { subject: { key, headers: {} } })));
    expect(rowsOf(service)).toEqual(expected);
  });
});

describe('requests at the same time', () => {
  it('read a passage once', async () => {
    const service = serviceOf();
    const reranker = createReranker({ ...service, passages: open() });
    const both = Promise.all(['q', 'p'].map((query) => reranker.rerank(ask(TEXTS, { query }))));
    const { value } = await settle(service, both);
    expect(service.log.batches.reduce((sum, { rows }) => sum + rows, 0)).toBe(5);
    expect(value!.map(({ kept }) => kept!.misses)).toEqual([4, 0]);
  });

  it('get an answer where the request that reads their passages is cancelled, fails or is late', async () => {
    for (const how of ['cancelled', 'late'] as const) {
      const service = serviceOf({ slow: { factor: 0.1, encoder, batchMs: 100 } });
      const reranker = createReranker({ ...service, passages: open() });
      const client = new AbortController();
      const owner = settleLater(
        reranker.rerank(
          ask(TEXTS, { model: 'slow', ...(how === 'cancelled' ? { signal: client.signal } : { deadlineMs: 50 }) }),
        ),
      );
      const waiter = settleLater(reranker.rerank(ask(TEXTS, { model: 'slow', query: 'other' })));
      await service.clock.run(20);
      client.abort();
      await service.clock.run();
      expect((await owner).error?.code).toBe(how === 'cancelled' ? 'client_closed' : 'deadline_exceeded');
      expect((await waiter).value!.kept).toMatchObject({ misses: 4 });
      const alone = serviceOf({ slow: { factor: 0.1, encoder, batchMs: 100 } });
      const { value } = await settle(
        alone,
        createReranker({ ...alone }).rerank(ask(TEXTS, { model: 'slow', query: 'other' })),
      );
      expect((await waiter).value!.ranking).toEqual(value!.ranking);
    }
  });

  it('each fail for their own reason where the model fails', async () => {
    const error = () => new WinnowError('inference_failed', { reason: 'row 1 fails alone: x', row: 1 });
    const service = serviceOf({ bad: { ...bi, fail: error } });
    const reranker = createReranker({ ...service, passages: open() });
    const texts = [
      ['4', '5'],
      ['6', '4'],
    ];
    const results = await settle(
      service,
      Promise.allSettled(texts.map((passages) => reranker.rerank(ask(passages, { model: 'bad' })))),
    );
    const rows = results.value!.map((result) => result.status === 'rejected' && result.reason.params.row);
    // Row 1 of the first request's batch is its first passage; the second request runs "6" behind its query.
    expect(rows).toEqual([0, 0]);
  });

  it('of the shadow lane never delay others', async () => {
    const service = serviceOf();
    const reranker = createReranker({ ...service, passages: open() });
    const shadow = settleLater(reranker.rerank(ask(TEXTS, { lane: 'shadow' })));
    const real = settleLater(reranker.rerank(ask(TEXTS)));
    await service.clock.run();
    expect((await real).value!.kept).toMatchObject({ misses: 4 });
    expect((await shadow).value!.ranking).toEqual((await real).value!.ranking);
  });
});

/** Keeps an outcome from being an unhandled rejection before it is looked at. */
const settleLater = <T>(promise: Promise<T>): Promise<{ value?: T; error?: WinnowError }> =>
  promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error: error as WinnowError }),
  );

describe('prices', () => {
  it('follow the hits: a request is admitted that would be refused if it had to be read', async () => {
    const service = serviceOf();
    const reranker = createReranker({ ...service, passages: open() });
    const long = (from: number) => Array.from({ length: 60 }, (_, i) => `${from + i} `.repeat(28).trim());
    const known = long(100);
    await settle(service, reranker.rerank(ask(known)));
    // The queue has room for 100,000 tokens: others fill it, and the reserve of shares with little in it.
    const others = Array.from({ length: 60 }, (_, i) =>
      settleLater(reranker.rerank(ask(long(1000 + 100 * i), { deadlineMs: 1e6 }))),
    );
    await service.clock.run(service.clock.now());
    const hits = settleLater(reranker.rerank(ask(known, { query: 'other' })));
    const misses = settleLater(reranker.rerank(ask(long(90_000))));
    await service.clock.run();
    expect((await misses).error?.code).toBe('overloaded');
    expect((await hits).value!.kept).toMatchObject({ hits: 60, misses: 0 });
    expect((await Promise.all(others)).some(({ value }) => value)).toBe(true);
  });

  it('follow the hits where a deadline decides', async () => {
    const service = serviceOf({ timed: { factor: 0.1, encoder, batchMs: 1, tokenMs: 1 } });
    const reranker = createReranker({ ...service, passages: open() });
    const texts = (from: number) => Array.from({ length: 40 }, (_, i) => `${from + i} `.repeat(25).trim());
    const run = (passages: readonly string[], deadlineMs: number, query = 'q') =>
      settleLater(reranker.rerank(ask(passages, { model: 'timed', deadlineMs, query })));
    // The costs are learned.
    for (let from = 1000; from < 3000; from += 100) {
      const learned = run(texts(from), 1e6);
      await service.clock.run();
      await learned;
    }
    const busy = run(texts(5000), 1e6);
    await service.clock.run(service.clock.now());
    const hits = run(texts(1000), 1700, 'other');
    const misses = run(texts(6000), 1700, 'other');
    await service.clock.run();
    expect((await misses).error?.code).toBe('overloaded');
    expect((await hits).value!.kept).toMatchObject({ hits: 40, misses: 0 });
    expect((await busy).value!.kept).toMatchObject({ misses: 40 });
  });

  it('follow the hits in demand', async () => {
    const service = serviceOf();
    const reranker = createReranker({ ...service, passages: open() });
    const texts = Array.from({ length: 200 }, (_, i) => `${i} `.repeat(28).trim());
    const run = async () => {
      await settle(service, reranker.rerank(ask(texts)));
      return service.scheduler.demand.ratio();
    };
    const one = await run();
    expect((await run()) / one).toBeLessThan(1.2);
  });
});

describe('other features', () => {
  it('cascades: each stage that keeps passages looks its own up', async () => {
    const service = serviceOf();
    const reranker = createReranker({ ...service, passages: open() });
    const cascade = [
      { model: 'e', keep: 2 },
      { model: 'x', keep: 1 },
    ];
    await settle(service, reranker.rerank(ask(['4', '5', '6'], { cascade })));
    const { value } = await settle(service, reranker.rerank(ask(['6', '7', '4'], { cascade })));
    expect(value!.kept).toMatchObject({ hits: 2, misses: 1 });
    expect(rowsOf(service)).toEqual(['e@1 4', 'x@1 2', 'e@1 2', 'x@1 2']);
  });

  it('experiments: two arms with the same model read passages once, and a shadow arm afterwards not at all', async () => {
    const service = serviceOf();
    const finished: FinishedRequest[] = [];
    const shadows: FinishedShadow[] = [];
    const hook: ExperimentHook = {
      decide: () => ({
        experiment: 'test',
        arms: [
          { arm: 'a', model: 'e' },
          { arm: 'b', model: 'e@1' },
        ],
        control: { arm: 'a', model: 'e' },
        shadows: [{ arm: 'c', model: 'e' }],
      }),
      interleave: (_, __, arms) => arms[0]!.ranking,
      recordRequest: (one) => finished.push(one),
      recordShadow: (one) => shadows.push(one),
    };
    const reranker = createReranker({ ...service, passages: open(), experiments: hook });
    const { value } = await settle(service, reranker.rerank(ask(TEXTS)));
    expect(value!.kept).toMatchObject({ hits: 4, misses: 4 });
    expect(finished[0]!.answer!.kept).toMatchObject({ hits: 4 });
    await service.clock.run();
    expect(shadows[0]).toMatchObject({ ranking: { kept: { hits: 4, misses: 0 } } });
    // Three queries, three texts.
    expect(service.log.batches.reduce((sum, { rows }) => sum + rows, 0)).toBe(6);
  });

  it('limits of a request: equal tokens share an entry, whatever cut them', async () => {
    const service = serviceOf({ short: { ...bi, maxLength: 5 } });
    const reranker = createReranker({ ...service, passages: open() });
    const request: Partial<RerankRequest> = { model: 'short' };
    await settle(service, reranker.rerank(ask(['3 4 5', '3 9 9 9'], request)));
    expect(rowsOf(service)).toEqual(['short@1 2']);
    const { value } = await settle(service, reranker.rerank(ask(['3 8', '7 8 9'], request)));
    expect(value!.truncated).toEqual([true, true]);
    // Five tokens are kept: three of the stand-in's own, the prefix and the first number.
    expect(value!.kept).toMatchObject({ hits: 1, misses: 1 });
  });
});
