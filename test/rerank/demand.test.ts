import { describe, expect, it } from 'vitest';
import type { RerankRequest } from '../../src/rerank/rerank-types.ts';
import { createReranker } from '../../src/rerank/reranker.ts';
import { createScoreCache } from '../../src/rerank/score-cache.ts';
import { ask, type FakeService, openFakeService, settle } from './fake-service.ts';

/** The demand after requests, in demands of one plain request. */
async function demandOf(...requests: readonly (Partial<RerankRequest> & { passages?: readonly string[] })[]) {
  const run = async (service: FakeService, asked: typeof requests) => {
    const reranker = createReranker({ ...service, scoreCache: createScoreCache({ bytes: 1e6 }) });
    for (const { passages = ['1 2', '3'], ...rest } of asked)
      await settle(service, reranker.rerank(ask(passages, rest)));
    return service.scheduler.demand.ratio();
  };
  const models = { m: { factor: 1 } };
  return (await run(openFakeService(models), requests)) / (await run(openFakeService(models), [{}]));
}

describe('demand of requests', () => {
  it('counts what has to be scored', async () => {
    expect(await demandOf({}, { passages: ['4 5', '6'] })).toBeCloseTo(2, 1);
    expect(await demandOf({ lane: 'batch' })).toBeCloseTo(1, 6);
  });

  it('counts neither cached scores, nor a text twice, nor shadow work, nor checks of the server', async () => {
    expect(await demandOf({}, {}, {})).toBeCloseTo(1, 6);
    expect(await demandOf({ passages: ['1 2', '3', '1 2', '3'] })).toBeCloseTo(1, 6);
    expect(await demandOf({ lane: 'shadow' })).toBe(0);
    expect(await demandOf({ isCheck: true })).toBe(0);
  });

  const bi = { queryPrefix: '1 ', passagePrefix: '2 ', scale: 1 };
  it.each([
    ['pairs', { factor: 1 }],
    ['texts', { factor: 1, encoder: bi }],
  ])('counts a request that is given up before its rows are known as an average one: %s', async (_, model) => {
    const service = openFakeService({ m: model });
    const reranker = createReranker({ ...service });
    await settle(service, reranker.rerank(ask(['1 2'])));
    const one = service.scheduler.demand.ratio();
    service.log.encodeMs = 1000;
    for (const given of [{}, { lane: 'shadow' }, { isCheck: true }] as const)
      await settle(service, reranker.rerank(ask(['3 4'], { deadlineMs: 200, ...given })));
    expect(service.scheduler.demand.ratio() / one).toBeCloseTo(2, 1);
  });
});
