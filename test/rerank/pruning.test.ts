import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Decision, ExperimentHook, FinishedRequest } from '../../src/experiments/ports.ts';
import { prunePlan, survivors } from '../../src/rerank/pruning.ts';
import type { RerankRequest } from '../../src/rerank/rerank-types.ts';
import { createReranker, type RerankerOptions } from '../../src/rerank/reranker.ts';
import { createScoreCache } from '../../src/rerank/score-cache.ts';
import { createScorer } from '../../src/rerank/scorer.ts';
import { ask, openFakeService, settle } from './fake-service.ts';

/** The early score is right but for 5, which it takes for 1. */
const early = { margin: 1, of: (score: number) => (score === 5 ? 1 : score) };
const MODELS = { plain: { factor: 1, early }, bare: { factor: 1 } } as const;
const PASSAGES = ['3', '9', '5', '8', '2', '7'];
const recall = { prune: { recall: 0.9 } } as const;

function open(options: Partial<RerankerOptions> = {}) {
  const service = openFakeService(MODELS);
  const reranker = createReranker({ ...service, ...options });
  return {
    service,
    async run(more: Partial<RerankRequest>, passages = PASSAGES) {
      const { value, error } = await settle(service, reranker.rerank(ask(passages, more)));
      const { pruned, unpruned } = value ?? {};
      return { indexes: value?.ranking.map(({ index }) => index), pruned, unpruned, value, error };
    },
  };
}

describe('survivors', () => {
  it('are all that lie within the margin of place n, and never fewer than n', () => {
    const scores = fc.float32Array({ minLength: 1, maxLength: 40, noNaN: true, noDefaultInfinity: true });
    fc.assert(
      fc.property(scores, fc.nat(39), fc.double({ min: 0, max: 50, noNaN: true }), (found, place, margin) => {
        const n = 1 + (place % found.length);
        const bound = [...found].sort((a, b) => b - a)[n - 1]! - margin;
        const stays = survivors(found, n, margin);
        expect(stays).toEqual([...found].map((score) => score >= bound));
        expect(stays.filter(Boolean).length).toBeGreaterThanOrEqual(n);
      }),
    );
  });
});

describe('the plan of a request', () => {
  const pruning = {
    counts: [1, 5, 10],
    recalls: [0.9, 0.99],
    margins: [
      [1, 2],
      [3, 4],
      [2, 5],
    ],
    share: 0.1,
    load: async () => '',
  };
  const version = { pruning } as never;
  const passages = Array.from({ length: 30 }, () => 'p');
  const plan = (topN: number | undefined, prune?: RerankRequest['prune'], setting = 0) =>
    prunePlan({ passages, ...(topN && { topN }), ...(prune !== undefined && { prune }) }, version, setting);

  it('takes the next higher recall, and the wider margin of the counts around top_n', () => {
    expect(plan(1, { recall: 0.5 })).toEqual({ margin: 1 });
    expect(plan(1, { recall: 0.95 })).toEqual({ margin: 2 });
    expect(plan(3, { recall: 0.9 })).toEqual({ margin: 3 });
    expect(plan(5, { recall: 0.9 })).toEqual({ margin: 3 });
    expect(plan(7, { recall: 0.99 })).toEqual({ margin: 5 });
    expect(plan(10, { recall: 0.9 })).toEqual({ margin: 2 });
    expect(plan(20, { recall: 0.9 })).toEqual({ margin: 3 });
  });

  it('says why nothing can be pruned', () => {
    expect(plan(undefined, { recall: 0.9 })).toEqual({ unpruned: 'no_top_n' });
    expect(plan(30, { recall: 0.9 })).toEqual({ unpruned: 'no_top_n' });
    expect(plan(5, { recall: 0.999 })).toEqual({ unpruned: 'recall' });
    const uncalibrated = prunePlan({ passages, topN: 5, prune: { recall: 0.9 } }, {} as never);
    expect(uncalibrated).toEqual({ unpruned: 'uncalibrated' });
  });

  it('lets the request overrule the setting', () => {
    expect(plan(5)).toEqual({});
    expect(plan(5, undefined, 0.9)).toEqual({ margin: 3 });
    expect(plan(5, { recall: 0.99 }, 0.9)).toEqual({ margin: 4 });
    expect(plan(5, false, 0.9)).toEqual({});
  });
});

describe('a pruned request', () => {
  it('scores only passages that may be among the first, with the scores of a whole request', async () => {
    const { run, service } = open();
    const whole = await run({ topN: 2 });
    expect(service.log.batches).toEqual([{ key: 'plain@1', rows: 6 }]);
    const pruned = await run({ topN: 2, ...recall });
    expect(service.log.batches.slice(1)).toEqual([
      { key: 'plain@1~early', rows: 6 },
      { key: 'plain@1', rows: 3 },
    ]);
    expect(pruned.value!.ranking).toEqual(whole.value!.ranking);
    expect(pruned).toMatchObject({ indexes: [1, 3], pruned: { passages: 3, tokens: 12 } });
    expect(pruned.value!.tokens).toBe(12);
    expect(whole.pruned).toBeUndefined();
    expect(service.log.held).toBe(0);
  });

  it('can miss a passage that the early score takes for a poor one', async () => {
    const { run } = open();
    expect(await run({ topN: 4 })).toMatchObject({ indexes: [1, 3, 5, 2] });
    expect(await run({ topN: 4, ...recall })).toMatchObject({ indexes: [1, 3, 5, 0], pruned: { passages: 1 } });
  });

  it('follows the setting of the server, and says nothing where that has no effect', async () => {
    const { run } = open({ pruneRecall: 0.9 });
    expect(await run({ topN: 2 })).toMatchObject({ pruned: { passages: 3 }, unpruned: undefined });
    expect(await run({})).toMatchObject({ indexes: [1, 3, 5, 2, 0, 4], pruned: undefined, unpruned: undefined });
    expect((await run({ topN: 2, prune: false })).pruned).toBeUndefined();
    expect((await run({ topN: 2, model: 'bare' })).unpruned).toBeUndefined();
  });

  it('reports a field without effect', async () => {
    const { run } = open();
    expect(await run(recall)).toMatchObject({ unpruned: 'no_top_n', indexes: [1, 3, 5, 2, 0, 4] });
    expect(await run({ ...recall, topN: 6 })).toMatchObject({ unpruned: 'no_top_n' });
    expect(await run({ ...recall, topN: 2, model: 'bare' })).toMatchObject({ unpruned: 'uncalibrated' });
    expect(await run({ prune: { recall: 0.95 }, topN: 2 })).toMatchObject({ unpruned: 'recall' });
  });

  it('is refused with a cascade, whose stages choose what goes on', async () => {
    const { run } = open({ pruneRecall: 0.9 });
    const cascade = [{ model: 'plain', keep: 3 }, { model: 'bare' }];
    const { error } = await run({ ...recall, cascade, topN: 2 });
    expect(error).toMatchObject({ code: 'invalid_field', params: { field: 'prune' } });
    expect((await run({ cascade, topN: 2 })).pruned).toBeUndefined();
  });

  it('has the same survivors whatever the cache holds, and caches no early score', async () => {
    const { run, service } = open({ scoreCache: createScoreCache({ bytes: 1 << 16 }) });
    const first = await run({ topN: 2, ...recall });
    const again = await run({ topN: 2, ...recall });
    expect(again.value!.ranking).toEqual(first.value!.ranking);
    expect(service.log.batches.map(({ rows }) => rows)).toEqual([6, 3, 6]);
    expect(await run({})).toMatchObject({ indexes: [1, 3, 5, 2, 0, 4] });
    expect(service.log.batches.at(-1)).toEqual({ key: 'plain@1', rows: 3 });
    expect((await run({ topN: 2, ...recall })).pruned).toBeUndefined();
    expect(service.log.batches).toHaveLength(4);
  });

  it('is scored whole inside an experiment', async () => {
    const finished: FinishedRequest[] = [];
    const arm = { arm: 'control', model: 'plain' };
    const experiments: ExperimentHook<Decision> = {
      decide: () => ({ experiment: 'e', arms: [arm], control: arm, shadows: [] }),
      interleave: () => [],
      recordRequest: (one) => void finished.push(one),
      recordShadow: () => {},
    };
    const { run } = open({ experiments, pruneRecall: 0.9 });
    expect(await run({ topN: 2, ...recall })).toMatchObject({ indexes: [1, 3], unpruned: 'experiment' });
    expect(finished[0]!.arms[0]!.ranking).toHaveLength(6);
    expect((await run({ topN: 2 })).unpruned).toBeUndefined();
  });

  it('names the failing passage of the request', async () => {
    const { run } = open();
    const { error } = await run({ topN: 2, truncate: false, ...recall }, [...PASSAGES, '1 '.repeat(40).trim()]);
    expect(error).toMatchObject({ code: 'passage_too_long', params: { field: 'passages[6]' } });
  });
});

it('the scorer tells which passages have no score', async () => {
  const service = openFakeService(MODELS);
  const scorer = createScorer(service);
  const found = async () => {
    for await (const one of scorer.score([{ query: 'q', passages: PASSAGES }], { topN: 2, ...recall })) return one;
    return undefined;
  };
  const { value } = await settle(service, found());
  expect(value).toMatchObject({ pruned: { places: [0, 2, 4], tokens: 12 }, tokens: 12 });
});
