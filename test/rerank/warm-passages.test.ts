import { describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import { createPassageCache } from '../../src/passages/passage-cache.ts';
import { createPassagesApi } from '../../src/rerank/create-passages-api.ts';
import type { PassagesApi, WarmRequest } from '../../src/rerank/passages-api.ts';
import { createReranker } from '../../src/rerank/reranker.ts';
import { ask, type FakeModel, openFakeService, settle } from './fake-service.ts';

/** A bi-encoder whose vectors are single numbers; texts have at most 8 tokens. */
const bi: FakeModel = { factor: 0.1, maxLength: 8, encoder: { queryPrefix: '1 ', passagePrefix: '2 ', scale: 0.5 } };

const KIB = 1024;

function open({ bytes = 1024 * KIB, shared = false, model = bi } = {}) {
  const service = openFakeService({ e: model, x: { factor: 1 } });
  const passages = { cache: createPassageCache({ bytes }), shared };
  const api = createPassagesApi({ ...service, passages });
  const reranker = createReranker({ ...service, passages });
  const run = <T>(work: Promise<T>) => settle(service, work);
  const rows = () => service.log.batches.splice(0).map(({ key, rows: count }) => `${key} ${count}`);
  return { api, reranker, run, rows, cache: passages.cache };
}

const warm = (passages: readonly string[], more: Partial<WarmRequest> = {}): WarmRequest => ({
  passages,
  truncate: true,
  deadlineMs: 10_000,
  ...more,
});

const LONG = '1 2 3 4 5 6 7 8 9';

describe('reading passages ahead', () => {
  it('reads what is not kept, each text once, and requests find all of it', async () => {
    const { api, reranker, run, rows } = open();
    const first = await run(api.warm(warm(['4', '5 6', '4'])));
    expect(first.value).toMatchObject({ model: 'e', version: '1', stored: 2, present: 1, notKept: 0, leftOut: 0 });
    expect(first.value).toMatchObject({ tooLong: [], bytes: 8 });
    expect(rows()).toEqual(['e@1 2']);
    const second = await run(api.warm(warm(['4', '7', '5 6'])));
    expect(second.value).toMatchObject({ stored: 1, present: 2, bytes: 12 });
    expect(rows()).toEqual(['e@1 1']);
    const asked = await run(reranker.rerank(ask(['4', '5 6', '7'])));
    expect(rows()).toEqual(['e@1 1']);
    expect(asked.value!.kept).toMatchObject({ hits: 3, misses: 0 });
  });

  it('cuts long passages as requests do, or leaves them out', async () => {
    const { api, reranker, run, rows } = open();
    const left = await run(api.warm(warm(['4', LONG, '5', LONG], { truncate: false })));
    expect(left.value).toMatchObject({ stored: 2, present: 0, tooLong: [1, 3], leftOut: 2 });
    expect(rows()).toEqual(['e@1 2']);
    const cut = await run(api.warm(warm(['4', LONG, '5', LONG])));
    expect(cut.value).toMatchObject({ stored: 1, present: 3, tooLong: [1, 3], leftOut: 0 });
    await run(reranker.rerank(ask(['4', LONG])));
    expect(rows()).toEqual(['e@1 1', 'e@1 1']);
  });

  it('reads many in pieces', async () => {
    const { api, run, rows } = open();
    const many = Array.from({ length: 300 }, (_, i) => String(i));
    const { value } = await run(api.warm(warm(many, { deadlineMs: 100_000 })));
    expect(value).toMatchObject({ stored: 300, present: 0 });
    const sizes = rows().map((one) => Number(one.split(' ')[1]));
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(300);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(128);
  });

  it('keeps what was read when the deadline comes, so that a second try goes on', async () => {
    const slow = open({ model: { ...bi, batchMs: 100 } });
    const many = Array.from({ length: 400 }, (_, i) => String(i));
    const late = await slow.run(slow.api.warm(warm(many, { deadlineMs: 250 })));
    expect(late.error).toMatchObject({ code: 'deadline_exceeded' });
    const { entries } = slow.cache.stats();
    expect(entries).toBeGreaterThan(0);
    const again = await slow.run(slow.api.warm(warm(many, { deadlineMs: 100_000 })));
    expect(again.value!.present).toBeGreaterThanOrEqual(entries);
    expect(again.value!.present + again.value!.stored).toBe(400);
  });

  it('counts what the cache has no room for', async () => {
    const { api, run, cache } = open({ bytes: 16 * KIB });
    const many = Array.from({ length: 600 }, (_, i) => String(i));
    const { value } = await run(api.warm(warm(many, { deadlineMs: 100_000 })));
    const { stored, present, notKept } = value!;
    expect(stored + present + notKept).toBe(600);
    expect(cache.stats().entries).toBeLessThan(600);
  });

  it('refuses models that keep nothing, and passes failures on', async () => {
    const { api, run } = open();
    const cross = await run(api.warm(warm(['4'], { model: 'x' })));
    expect(cross.error).toMatchObject({
      code: 'invalid_field',
      message:
        'expected a model of kind `bi-encoder` or `interaction`, which reads passages apart from the query, got x@1, a cross-encoder (model)',
    });
    expect((await run(api.warm(warm(['4'], { model: 'none' })))).error).toMatchObject({ code: 'unknown_model' });
    const failing = open({ model: { ...bi, fail: () => new WinnowError('host_lost', { reason: 'killed' }) } });
    expect((await failing.run(failing.api.warm(warm(['4'])))).error).toMatchObject({ code: 'host_lost' });
    expect(failing.cache.stats().entries).toBe(0);
  });
});

describe('entries of API keys', () => {
  const of = (key: string) => ({ subject: { key } });
  const fill = async (api: PassagesApi, run: ReturnType<typeof open>['run']) => {
    await run(api.warm(warm(['4', '5'], of('ann'))));
    await run(api.warm(warm(['4'], of('bob'))));
  };

  it('are counted and removed by key, or all together', async () => {
    const { api, run, rows } = open();
    await fill(api, run);
    expect(rows()).toEqual(['e@1 2', 'e@1 1']);
    expect(api.report('ann')).toMatchObject({ entries: 2, misses: 2, hits: 0 });
    expect(api.report('bob')).toMatchObject({ entries: 1, models: [{ model: 'e', version: '1', entries: 1 }] });
    expect(api.report('eve')).toMatchObject({ entries: 0, models: [] });
    expect(api.report()).toMatchObject({
      entries: 3,
      models: [{ model: 'e', version: '1', variant: 'fp32', entries: 3 }],
    });
    expect(await api.clear(undefined, 'bob')).toMatchObject({ entries: 1 });
    expect([api.report('ann').entries, api.report('bob').entries]).toEqual([2, 0]);
    expect(await api.clear([{ name: 'e', version: '2' }])).toEqual({ entries: 0, bytes: 0 });
    expect(await api.clear([{ name: 'e' }])).toMatchObject({ entries: 2 });
  });

  it('are one where they are shared', async () => {
    const { api, run, rows } = open({ shared: true });
    await fill(api, run);
    expect(rows()).toEqual(['e@1 2']);
    expect(api.report()).toMatchObject({ entries: 2, hits: 1, misses: 2 });
  });
});
