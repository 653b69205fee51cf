import { describe, expect, it } from 'vitest';
import type { Decision, ExperimentHook, FinishedRequest } from '../../src/experiments/ports.ts';
import { relevanceScore } from '../../src/rerank/ranking.ts';
import type { Ranked, RerankRequest } from '../../src/rerank/rerank-types.ts';
import { createReranker, type RerankerOptions } from '../../src/rerank/reranker.ts';
import { createScoreCache } from '../../src/rerank/score-cache.ts';
import { ask, openFakeService, settle } from './fake-service.ts';

const MODELS = { plain: { factor: 1 }, logits: { factor: 1, activation: 'none' }, small: { factor: 0.5 } } as const;
const PASSAGES = ['3', '-1', '1', '-3'];

function open(options: Partial<RerankerOptions> = {}) {
  const service = openFakeService(MODELS);
  const reranker = createReranker({ ...service, ...options });
  return {
    service,
    async run(more: Partial<RerankRequest>, passages = PASSAGES) {
      const { value, error } = await settle(service, reranker.rerank(ask(passages, more)));
      return { indexes: value?.ranking.map(({ index }) => index), below: value?.belowMinScore, value, error };
    },
  };
}

describe('the least score of an answer', () => {
  it('holds for the score after the activation, before the number of results', async () => {
    const { run } = open();
    expect(await run({ minScore: 0.5 })).toMatchObject({ indexes: [0, 2], below: 2 });
    expect(await run({ minScore: 0.5, topN: 1 })).toMatchObject({ indexes: [0], below: 2 });
    expect(await run({ minScore: 0.5, topN: 3 })).toMatchObject({ indexes: [0, 2], below: 2 });
    expect(await run({ minScore: 2 })).toMatchObject({ indexes: [], below: 4 });
    expect(await run({ minScore: -1 })).toMatchObject({ indexes: [0, 2, 1, 3], below: 0 });
    expect(await run({ model: 'logits', minScore: -1 })).toMatchObject({ indexes: [0, 2, 1], below: 1 });
    expect((await run({})).value).not.toHaveProperty('belowMinScore');
  });

  it('keeps the passage whose score it is, as a client reads that', async () => {
    const { run } = open();
    for (let logit = -8; logit < 8; logit++) {
      const read = Number(relevanceScore(logit, 'sigmoid').toPrecision(9));
      expect(await run({ minScore: read }, [String(logit)])).toMatchObject({ indexes: [0], below: 0 });
    }
  });

  it('changes no cached score', async () => {
    const { service, run } = open({ scoreCache: createScoreCache({ bytes: 1 << 16 }) });
    await run({ minScore: 0.5 });
    expect(await run({})).toMatchObject({ indexes: [0, 2, 1, 3] });
    expect(await run({ minScore: 0.9 })).toMatchObject({ indexes: [0], below: 3 });
    expect(service.log.encoded).toHaveLength(1);
  });

  it('holds for the scores that a cascade answers with', async () => {
    const { run } = open();
    const cascade = [{ model: 'small', keep: 2 }, { model: 'plain' }];
    // The first stage prunes -1 and -3, whose small scores are lowered to those above them.
    const { value } = await run({ cascade });
    const scores = value!.ranking.map(({ relevanceScore: score }) => score);
    const least = (scores[1]! + scores[2]!) / 2;
    expect(await run({ cascade, minScore: least })).toMatchObject({ indexes: [0, 2], below: 2 });
    expect(await run({ cascade, minScore: scores[2]! })).toMatchObject({ indexes: [0, 2, 1], below: 1 });
    // A last `keep` bounds the answer first.
    const kept = [cascade[0]!, { model: 'plain', keep: 1 }];
    expect(await run({ cascade: kept, minScore: 0 })).toMatchObject({ indexes: [0], below: 0 });
  });

  it('holds for the scores of an interleaved answer; arms are recorded whole', async () => {
    const finished: FinishedRequest[] = [];
    const [a, b] = [
      { arm: 'a', model: 'plain' },
      { arm: 'b', model: 'small' },
    ];
    const experiments: ExperimentHook = {
      decide: (): Decision => ({ experiment: 'mix', arms: [a, b], control: a, shadows: [] }),
      interleave: (_decision, _request, [first, second]) =>
        first!.ranking.map(
          (item, i): Ranked => (i % 2 === 0 ? { ...item, team: 'a' } : { ...second!.ranking[i]!, team: 'b' }),
        ),
      recordRequest: (one) => finished.push(one),
      recordShadow: () => {},
    };
    const { run } = open({ experiments });
    const { indexes, below, value } = await run({ minScore: 0.5 });
    expect([indexes, below]).toEqual([[0, 2], 2]);
    expect(value!.ranking.every(({ relevanceScore: score }) => score >= 0.5)).toBe(true);
    expect(finished[0]!.arms.map(({ ranking }) => ranking.length)).toEqual([4, 4]);
    expect(finished[0]!.answer?.ranking).toHaveLength(2);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('is refused as %s', async (minScore) => {
    expect((await open().run({ minScore })).error).toMatchObject({
      code: 'invalid_field',
      params: { field: 'minScore' },
    });
  });
});
