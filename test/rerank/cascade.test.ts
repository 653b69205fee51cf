import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cascadeRun } from '../../src/evaluation/suites/cascade.ts';
import type { CascadeStage } from '../../src/rerank/rerank-types.ts';
import { createReranker } from '../../src/rerank/reranker.ts';
import { ask, openFakeService, settle } from './fake-service.ts';

const service = () =>
  openFakeService({ small: { factor: 1 }, large: { factor: -1, batchMs: 50 }, third: { factor: 0.5 } });

describe('cascade', () => {
  it('finishes what the first stage keeps, then lists what it pruned', async () => {
    const h = service();
    const cascade = [{ model: 'small', keep: 2 }, { model: 'large' }];
    const { value } = await settle(h, createReranker({ ...h }).rerank(ask(['1', '4', '3', '2'], { cascade })));
    // The small model ranks 4 3 2 1; the large one, which likes little, turns the two best around.
    expect(value!.ranking.map(({ index, stage }) => [index, stage])).toEqual([
      [2, 1],
      [1, 1],
      [3, 0],
      [0, 0],
    ]);
    // Finished ones have the large model's scores; the pruned ones' own (2 and 1) would exceed them.
    expect(value!.ranking.map(({ score }) => score)).toEqual([-3, -4, -4, -4]);
    expect(value).toMatchObject({ model: 'large', version: '1', tokens: 4 * 4 + 2 * 4 });
    expect(value!.timings).toMatchObject({ inferMs: 60, totalMs: 60 });
    expect(h.log.batches).toEqual([
      { key: 'small@1', rows: 4 },
      { key: 'large@1', rows: 2 },
    ]);
    expect(h.log.held).toBe(0);
  });

  it('ranks by both stages where the second blends', async () => {
    const h = service();
    const cascade = [
      { model: 'small', keep: 3 },
      { model: 'large', blend: 0.75 },
    ];
    const { value } = await settle(h, createReranker({ ...h }).rerank(ask(['1', '4', '3', '2'], { cascade })));
    // The large model likes what the small one does not, and counts for a quarter: −3, −2, −4 become −3 ∓ .5 of a deviation.
    expect(value!.ranking.map(({ index, stage }) => [index, stage])).toEqual([
      [1, 1],
      [2, 1],
      [3, 1],
      [0, 0],
    ]);
    expect(value!.ranking.map(({ score }) => score)).toEqual([-2.5, -3, -3.5, -3.5]);
  });

  it('ranks as `winnow eval` computes it from the scores of all candidates', async () => {
    const stage = fc.record({ keep: fc.integer({ min: 1, max: 9 }), blend: fc.constantFrom(0, 0.3, 0.6, 0.8) });
    // Different values, so that no tie is settled in two ways.
    const passages = fc.uniqueArray(fc.integer({ min: 0, max: 99 }), { minLength: 1, maxLength: 9 });
    await fc.assert(
      fc.asyncProperty(passages, stage, stage, async (values, one, two) => {
        const h = openFakeService({ small: { factor: 1 }, large: { factor: -2 }, third: { factor: 0.5 } });
        const cascade = [
          { model: 'small', keep: one.keep },
          { model: 'large', ...two },
          { model: 'third', blend: one.blend },
        ];
        const { value } = await settle(h, createReranker({ ...h }).rerank(ask(values.map(String), { cascade })));
        const docids = values.map((_, i) => `${i}`);
        const runOf = (factor: number) => new Map([['q', { docids, scores: values.map((v) => factor * v) }]]);
        const run = cascadeRun(runOf(1), [
          { run: runOf(1), keep: one.keep },
          { run: runOf(-2), ...two },
          { run: runOf(0.5), blend: one.blend },
        ]);
        expect(value!.ranking.map(({ index }) => `${index}`)).toEqual(run.get('q')!.docids);
      }),
      { numRuns: 50 },
    );
  });

  it('a last keep bounds the answer, topN too', async () => {
    const h = service();
    const run = async (cascade: CascadeStage[], topN?: number) => {
      const request = ask(['1', '4', '3', '2'], { cascade, ...(topN ? { topN } : {}) });
      return (await settle(h, createReranker({ ...h }).rerank(request))).value!.ranking.map(({ index }) => index);
    };
    expect(
      await run([
        { model: 'small', keep: 3 },
        { model: 'large', keep: 2 },
      ]),
    ).toEqual([3, 2]);
    expect(await run([{ model: 'small', keep: 3 }, { model: 'large' }], 1)).toEqual([3]);
    expect(await run([{ model: 'small', keep: 100 }, { model: 'large' }])).toEqual([0, 3, 2, 1]);
    expect(await run([{ model: 'small' }])).toEqual([1, 2, 3, 0]);
  });

  it('flags what the model that saw it last had to cut', async () => {
    const h = openFakeService({ short: { factor: 1, maxLength: 5 }, long: { factor: 1, maxLength: 50 } });
    const cascade = [{ model: 'short', keep: 1 }, { model: 'long' }];
    const { value } = await settle(h, createReranker({ ...h }).rerank(ask(['9 9 9', '1 1 1 1'], { cascade })));
    expect(value!.truncated).toEqual([false, true]);
  });

  it('refuses stages that make no sense', async () => {
    const h = service();
    const refuse = async (cascade: CascadeStage[], field: string, model?: string) => {
      const request = ask(['1'], { cascade, ...(model ? { model } : {}) });
      const { error } = await settle(h, createReranker({ ...h }).rerank(request));
      expect(error?.code).toBe('invalid_field');
      expect(error?.params.field).toBe(field);
    };
    await refuse([], 'cascade');
    await refuse([{ model: 'small' }, { model: 'large' }], 'cascade[0].keep');
    await refuse([{ model: 'small', keep: 0 }, { model: 'large' }], 'cascade[0].keep');
    await refuse(
      [
        { model: 'small', keep: 2 },
        { model: 'large', keep: 1.5 },
      ],
      'cascade[1].keep',
    );
    await refuse([{ model: 'small', keep: 2 }, { model: 'large' }], 'cascade', 'small');
    await refuse([{ model: 'small', keep: 2, blend: 0.5 }, { model: 'large' }], 'cascade[0].blend');
    for (const blend of [-0.1, 1, Number.NaN])
      await refuse(
        [
          { model: 'small', keep: 2 },
          { model: 'large', blend },
        ],
        'cascade[1].blend',
      );
  });

  it('one deadline holds for all stages', async () => {
    const h = openFakeService({ small: { factor: 1, batchMs: 60 }, large: { factor: 1, batchMs: 60 } });
    const cascade = [{ model: 'small', keep: 1 }, { model: 'large' }];
    const { error } = await settle(h, createReranker({ ...h }).rerank(ask(['1', '2'], { cascade, deadlineMs: 100 })));
    expect(error?.params).toEqual({ deadlineMs: 100 });
    expect(h.log.held).toBe(0);
  });

  it('every passage once, finished before pruned, scores never rising', async () => {
    const keeps = fc.tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 12 }));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(9), { minLength: 1, maxLength: 12 }), keeps, async (values, [one, two]) => {
        const h = service();
        const cascade = [{ model: 'small', keep: one }, { model: 'large', keep: two }, { model: 'third' }];
        const passages = values.map(String);
        const { value } = await settle(h, createReranker({ ...h }).rerank(ask(passages, { cascade })));
        const { ranking } = value!;
        expect(ranking.map(({ index }) => index).sort((a, b) => a - b)).toEqual(values.map((_, i) => i));
        const first = Math.min(one, values.length);
        const second = Math.min(two, first);
        expect(ranking.map(({ stage }) => stage)).toEqual(values.map((_, i) => (i < second ? 2 : i < first ? 1 : 0)));
        for (let i = 1; i < ranking.length; i++) {
          expect(ranking[i]!.score).toBeLessThanOrEqual(ranking[i - 1]!.score);
          expect(ranking[i]!.relevanceScore).toBeLessThanOrEqual(ranking[i - 1]!.relevanceScore);
        }
      }),
      { numRuns: 50 },
    );
  });
});
