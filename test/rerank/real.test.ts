import { readFileSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { createHostPool, type SupervisedPool } from '../../src/inference/host-pool.ts';
import { createRegistry, type FolderRegistry } from '../../src/registry/folder-registry.ts';
import type { Reranker, RerankRequest } from '../../src/rerank/rerank-types.ts';
import { createReranker, type RerankerOptions } from '../../src/rerank/reranker.ts';
import { createScoreCache } from '../../src/rerank/score-cache.ts';
import { createScorer } from '../../src/rerank/scorer.ts';
import { createScheduler } from '../../src/scheduling/scheduler.ts';
import type { Scheduler, SchedulerObserver } from '../../src/scheduling/scheduling-types.ts';
import type { EncodedRow } from '../../src/tokenization/tokenization-types.ts';
import { createTokenizerPool, type TokenizerPool } from '../../src/tokenization/tokenizer-pool.ts';
import { createRandom } from '../../src/util/random.ts';
import {
  hasReference,
  MODELS,
  REFERENCE_NEEDS,
  REFERENCE_SCORES,
  referenceRegistry,
  SHIPPED_NAME,
  shippedRelevance,
} from '../support/shipped.ts';

/* The whole use case on the shipped model: real registry, tokenizer threads, scheduler and inference processes. */

let pool: SupervisedPool;
let tokenizers: TokenizerPool;
let registry: FolderRegistry;
let scheduler: Scheduler<EncodedRow>;
/** One row a batch: the last bits of the shipped model depend on the batch, whose rows depend on what was measured before. */
let rowByRow: Scheduler<EncodedRow>;
const batches: Parameters<NonNullable<SchedulerObserver['onBatch']>>[0][] = [];

beforeAll(async () => {
  pool = await createHostPool({ provider: 'cpu', hosts: 2, threads: 1 });
  tokenizers = createTokenizerPool({ threads: 1, cacheBytes: 1 << 24 });
  registry = await createRegistry({ folder: MODELS, pool, tokenizers });
  scheduler = schedulerOf(64);
  rowByRow = schedulerOf(1);
});
afterAll(async () => {
  await scheduler?.close();
  await rowByRow?.close();
  await registry?.close();
  await tokenizers?.close();
  await pool?.close();
});

function schedulerOf(batchRows: number): Scheduler<EncodedRow> {
  return createScheduler<EncodedRow>({
    executor: { concurrency: pool.size, depth: 2, execute: (key, rows) => pool.run(key, rows) },
    limits: { batchTokens: 4096, batchRows, queueTokens: 4_000_000, maxWaitMs: 600_000, agingMs: 2000 },
    observer: { onBatch: (batch) => batches.push(batch) },
  });
}

const make = (options: Partial<RerankerOptions> = {}): Reranker =>
  createReranker({ registry, tokenizers, scheduler, ...options });

function request(query: string, passages: readonly string[], more: Partial<RerankRequest> = {}): RerankRequest {
  return {
    requestId: 'test',
    query,
    passages,
    truncate: true,
    lane: 'interactive',
    deadlineMs: 120_000,
    ...more,
  };
}

const WORDS =
  'flea cat dog egg larva pupa cycle adult days warm service carpet spray comb water year month blood host'.split(' ');

/** Passages of 3 to 14 words, all different. */
function chatter(count: number, seed: number): string[] {
  const random = createRandom(seed);
  return Array.from({ length: count }, (_, i) =>
    [`text ${i}`, ...Array.from({ length: 3 + random.below(12) }, () => WORDS[random.below(WORDS.length)]!)].join(' '),
  );
}

const QUERY = 'how long is life cycle of flea';
const ANSWER = 'The life cycle of a flea can last anywhere from 20 days to an entire year.';

describe('reranker on the shipped model', () => {
  it.skipIf(!hasReference)(
    `gives the reference scores of another binding to 1e-4, pair by pair ${REFERENCE_NEEDS}`,
    async () => {
      type Pair = { readonly query: string; readonly passage: string; readonly onnx_int8: number };
      const { pairs } = JSON.parse(readFileSync(REFERENCE_SCORES, 'utf8')) as { readonly pairs: readonly Pair[] };
      const folder = referenceRegistry();
      const reference = await createRegistry({ folder, pool, tokenizers });
      onTestFinished(async () => {
        await reference.close();
        rmSync(folder, { recursive: true });
      });
      const reranker = make({ registry: reference });
      const byQuery = Map.groupBy(pairs, (pair) => pair.query);
      const answers = await Promise.all(
        [...byQuery].map(async ([query, group]) => ({
          group,
          answer: await reranker.rerank(
            request(
              query,
              group.map((pair) => pair.passage),
              { model: 'reference@1' },
            ),
          ),
        })),
      );
      expect(pairs).toHaveLength(30);
      for (const { group, answer } of answers)
        for (const { index, score } of answer.ranking)
          expect(Math.abs(score - group[index]!.onnx_int8)).toBeLessThan(1e-4);
    },
  );

  it('a score is the same alone and among 999 others, whatever else is going on', async () => {
    const reranker = make();
    const alone = (await reranker.rerank(request(QUERY, [ANSWER]))).ranking[0]!.score;
    const crowd = chatter(999, 1);
    const among = reranker.rerank(request(QUERY, [...crowd.slice(0, 500), ANSWER, ...crowd.slice(500)]));
    const traffic = [2, 3, 4, 5].map((seed) => reranker.rerank(request(`query ${seed}`, chatter(20 * seed, seed))));
    const again = Promise.all([...Array(5)].map(() => reranker.rerank(request(QUERY, [ANSWER]))));
    const scoreOf = (answer: Awaited<typeof among>, index: number) =>
      answer.ranking.find((item) => item.index === index)!.score;
    expect(Math.abs(scoreOf(await among, 500) - alone)).toBeLessThanOrEqual(1e-5);
    for (const answer of await again) expect(Math.abs(scoreOf(answer, 0) - alone)).toBeLessThanOrEqual(1e-5);
    expect((await among).ranking).toHaveLength(1000);
    for (const answer of await Promise.all(traffic)) expect(answer.ranking.length).toBeGreaterThan(0);
    expect(batches.some((batch) => batch.rows > 1)).toBe(true);
  });

  it('ranks, activates and reports', async () => {
    const answer = await make().rerank(request(QUERY, ['The egg is boiled.', ANSWER, 'Dogs bark.'], { topN: 2 }));
    expect(answer).toMatchObject({ model: SHIPPED_NAME, version: '1', truncated: [false, false, false] });
    expect(answer.ranking).toHaveLength(2);
    expect(answer.ranking[0]!.index).toBe(1);
    const [first, second] = answer.ranking as [(typeof answer.ranking)[0], (typeof answer.ranking)[0]];
    expect(first.score).toBeGreaterThan(second.score);
    expect(first.relevanceScore).toBe(Math.fround(shippedRelevance(first.score)));
    expect(answer.tokens).toBeGreaterThan(30);
    const { tokenizeMs, queueMs, inferMs, totalMs } = answer.timings;
    expect(Math.min(tokenizeMs, queueMs)).toBeGreaterThanOrEqual(0);
    expect(inferMs).toBeGreaterThan(0);
    expect(totalMs).toBeGreaterThan(queueMs);
  });

  it('cuts long passages and says so, refuses them if asked to, or scores windows', async () => {
    const long = `${'cat '.repeat(400)}${ANSWER}`;
    const reranker = make();
    const cut = await reranker.rerank(request(QUERY, [ANSWER, long]));
    expect(cut.truncated).toEqual([false, true]);
    const end = await reranker.rerank(request(QUERY, [ANSWER, long], { side: 'left' }));
    const windows = await reranker.rerank(request(QUERY, [ANSWER, long], { longPassages: 'max' }));
    expect(windows.truncated).toEqual([false, false]);
    const longScore = (answer: typeof cut) => answer.ranking.find(({ index }) => index === 1)!.score;
    expect(longScore(end)).toBeGreaterThan(longScore(cut));
    expect(longScore(windows)).toBeGreaterThan(longScore(cut));
    const mean = await reranker.rerank(request(QUERY, [long], { longPassages: 'mean' }));
    expect(mean.ranking[0]!.score).toBeLessThan(longScore(windows));
    await expect(reranker.rerank(request(QUERY, [ANSWER, long], { truncate: false }))).rejects.toMatchObject({
      code: 'passage_too_long',
      params: { limit: 192, field: 'passages[1]' },
    });
    const capped = request(QUERY, [long], { truncate: false, maxPassageTokens: 20 });
    expect((await reranker.rerank(capped)).truncated).toEqual([true]);
  });

  it('scores a long query whole where its pair fits', async () => {
    const query = `${'i read old threads all evening and none of them matches what i see here '.repeat(7)}so: ${QUERY}`;
    const passages = [ANSWER, 'Dogs bark at night.'];
    const usual = await make({ scheduler: rowByRow }).rerank(request(query, passages));
    const whole = await make({ scheduler: rowByRow }).rerank(request(query, passages, { truncate: false }));
    expect(usual.tokens).toBeGreaterThan(2 * 110);
    expect([usual.queryCut, usual.tokens]).toEqual([0, whole.tokens]);
    expect(usual.ranking).toEqual(whole.ranking);
    expect(usual.ranking[0]!.index).toBe(0);
  });

  it('says how much of a query was left out, whatever cut it, also from the cache and in cascades', async () => {
    const query = 'flea '.repeat(100);
    const scoreCache = createScoreCache({ bytes: 1 << 20 });
    const capped = {
      truncation: 'longest_first',
      longPassages: 'truncate',
      windowOverlap: 32,
      maxQueryTokens: 64,
    } as const;
    const reranker = make({ scoreCache, settings: capped });
    const of = async (more: Partial<RerankRequest> = {}) =>
      (await reranker.rerank(request(query, [ANSWER, 'Dogs bark.'], more))).queryCut;
    const first = await of();
    expect(first).toBeGreaterThan(30);
    expect([await of(), await of({ maxQueryTokens: 500 })]).toEqual([first, first]);
    expect(await of({ maxQueryTokens: 10 })).toBe(first + 54);
    // Without truncation only the limit of the request itself cuts.
    expect(await of({ truncate: false })).toBe(0);
    expect(await of({ truncate: false, maxQueryTokens: 10 })).toBe(first + 54);
    expect(await of({ cascade: [{ model: SHIPPED_NAME, keep: 1 }, { model: SHIPPED_NAME }] })).toBe(first);
    // The pair's length cuts the query too, and a limit on it is a limit of the request.
    expect(await of({ maxPairTokens: 24 })).toBeGreaterThan(first);
    expect(await of({ maxPairTokens: 24, truncate: false })).toBeGreaterThan(first);
  });

  it('refuses a query that does not fit, where nothing may be cut', async () => {
    const scoreCache = createScoreCache({ bytes: 1 << 20 });
    const long = request('flea '.repeat(400), ['Dogs bark.']);
    for (const longPassages of ['truncate', 'max'] as const) {
      const cut = await make({ scoreCache }).rerank({ ...long, longPassages });
      expect([cut.truncated, cut.queryCut > 200]).toEqual([[false], true]);
      await expect(make({ scoreCache }).rerank({ ...long, longPassages, truncate: false })).rejects.toMatchObject({
        code: 'passage_too_long',
        params: { limit: 192, field: 'passages[0]' },
      });
    }
  });

  it('scores at most so many windows of a passage', async () => {
    const long = `${'cat '.repeat(900)}${ANSWER}`;
    const of = async (more: Partial<RerankRequest>) => {
      const { ranking, truncated } = await make({ scheduler: rowByRow }).rerank(request(QUERY, [long], more));
      return { score: ranking[0]!.score, cut: truncated[0] };
    };
    const all = await of({ longPassages: 'max' });
    expect(await of({ maxWindows: 1000 })).toEqual(all);
    expect(await of({ maxWindows: 1 })).toEqual(await of({}));
    const two = await of({ maxWindows: 2 });
    expect([two.cut, all.cut, two.score < all.score]).toEqual([true, false, true]);
    expect((await of({ maxWindows: 2, side: 'left' })).score).toBeGreaterThan(two.score);
  });

  it('a cached pair keeps its score and costs nothing', async () => {
    const scoreCache = createScoreCache({ bytes: 1 << 20 });
    const reranker = make({ scoreCache });
    const passages = chatter(20, 9);
    const first = await reranker.rerank(request(QUERY, passages));
    const mixed = await reranker.rerank(request(QUERY, [...passages, ANSWER]));
    expect(scoreCache.stats()).toMatchObject({ hits: 20, misses: 21, entries: 21 });
    const of = (answer: typeof first) => new Map(answer.ranking.map(({ index, score }) => [index, score]));
    for (const [index, score] of of(first)) expect(of(mixed).get(index)).toBe(score);
    const before = batches.length;
    const third = await reranker.rerank(request(QUERY, passages));
    expect(third.ranking).toEqual(first.ranking);
    expect([third.tokens, batches.length - before]).toEqual([0, 0]);
  });

  it('the scorer streams through the same path, in order, with the same scores', async () => {
    const inputs = [6, 7, 8, 9, 10].map((seed) => ({
      id: seed,
      query: `query ${seed}`,
      passages: chatter(3 * seed, seed),
    }));
    const scorer = createScorer({ registry, tokenizers, scheduler });
    const outputs = [];
    for await (const output of scorer.score(inputs, { passagesAhead: 50 })) outputs.push(output);
    expect(outputs.map(({ input }) => input.id)).toEqual([6, 7, 8, 9, 10]);
    const reranker = make();
    for (const { input, scores } of outputs) {
      const { ranking } = await reranker.rerank(request(input.query, input.passages));
      for (const { index, score } of ranking) expect(Math.abs(scores[index]! - score)).toBeLessThanOrEqual(1e-5);
    }
  });
});
