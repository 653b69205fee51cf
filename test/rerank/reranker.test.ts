import { describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import type { ServedVersion } from '../../src/registry/registry-types.ts';
import { createReranker } from '../../src/rerank/reranker.ts';
import { createScoreCache } from '../../src/rerank/score-cache.ts';
import { createScorer } from '../../src/rerank/scorer.ts';
import { TokenizerShelf } from '../../src/rerank/tokenizer-shelf.ts';
import { ask, type FakeService, openFakeService, settle } from './fake-service.ts';

const indexes = (answer: { readonly ranking: readonly { readonly index: number }[] } | undefined) =>
  answer?.ranking.map(({ index }) => index);

const make = (service: FakeService) => createReranker({ ...service });

describe('reranker', () => {
  it('asks for the model named, ranks, and gives the model back', async () => {
    const service = openFakeService({ plain: { factor: 0.1 }, flipped: { factor: -0.1, activation: 'none' } });
    const { value } = await settle(service, make(service).rerank(ask(['1', '3', '2'], { model: 'flipped@7' })));
    expect(value).toMatchObject({ model: 'flipped', version: '7', truncated: [false, false, false], tokens: 12 });
    expect(indexes(value)).toEqual([0, 2, 1]);
    expect(value!.ranking[0]).toEqual({ index: 0, score: Math.fround(-0.1), relevanceScore: Math.fround(-0.1) });
    const fallback = await settle(service, make(service).rerank(ask(['1', '3', '2'], { topN: 1 })));
    expect(fallback.value?.model).toBe('plain');
    expect(indexes(fallback.value)).toEqual([1]);
    expect(service.log.held).toBe(0);
  });

  it('tokenizes and scores a text once, however often a request has it', async () => {
    const service = openFakeService({ m: { factor: 1 } });
    const texts = ['1 2', '7', '1 2', '3', '7', '1 2'];
    const { value } = await settle(service, make(service).rerank(ask(texts)));
    expect(indexes(value)).toEqual([1, 4, 0, 2, 3, 5]);
    expect(value!.truncated).toHaveLength(6);
    const rows = service.log.batches.reduce((sum, batch) => sum + batch.rows, 0);
    expect(rows).toBe(3);
    expect(service.log.encoded.flatMap(([, ...passages]) => passages)).toEqual(['1 2', '7', '3']);
    const alone = await settle(service, make(service).rerank(ask(['1 2', '7', '3'])));
    expect(value!.tokens).toBe(alone.value!.tokens);
  });

  it('names the first place of a text that is too long', async () => {
    const service = openFakeService({ m: { factor: 1, maxLength: 8 } });
    const long = ask(['1 2', '1 2', '1 2 3 4 5 6 7', '1 2 3 4 5 6 7'], { truncate: false });
    const { error } = await settle(service, make(service).rerank(long));
    expect(error?.params).toEqual({ limit: 8, got: 10, field: 'passages[2]' });
  });

  it('schedules the rows of a request in the share of its key', async () => {
    const service = openFakeService({ m: { factor: 1 } });
    const { submit } = service.scheduler;
    const shares: (string | undefined)[] = [];
    const scheduler: FakeService['scheduler'] = {
      ...service.scheduler,
      submit(job) {
        shares.push(job.share);
        return submit.call(service.scheduler, job);
      },
    };
    const reranker = make({ ...service, scheduler });
    await settle(service, reranker.rerank(ask(['1'], { subject: { key: 'search', headers: {} } })));
    await settle(service, reranker.rerank(ask(['1'])));
    expect(shares).toEqual(['search', undefined]);
  });

  it('measures every stage', async () => {
    const service = openFakeService({ m: { factor: 1, batchMs: 20, loadMs: 5 } });
    service.log.encodeMs = 3;
    const { value } = await settle(service, make(service).rerank(ask(['1', '2'])));
    expect(value!.timings).toEqual({ tokenizeMs: 3, queueMs: 0, inferMs: 20, totalMs: 28 });
  });

  it('refuses what makes no sense', async () => {
    const reranker = make(openFakeService({ m: { factor: 1 } }));
    await expect(reranker.rerank(ask([]))).rejects.toMatchObject({ code: 'empty_passages' });
    for (const bad of [{ topN: 0 }, { topN: 1.5 }, { deadlineMs: 0 }, { deadlineMs: Number.NaN }])
      await expect(reranker.rerank(ask(['1'], bad))).rejects.toMatchObject({ code: 'invalid_field' });
    await expect(reranker.rerank(ask(['1'], { model: 'nobody' }))).rejects.toMatchObject({ code: 'unknown_model' });
  });

  it('names the passage that is too long and how long it is', async () => {
    const service = openFakeService({ m: { factor: 1, maxLength: 8 } });
    const long = ask(['1 2', '1 2 3 4 5 6 7'], { truncate: false });
    const { error } = await settle(service, make(service).rerank(long));
    expect(error?.code).toBe('passage_too_long');
    expect(error?.params).toEqual({ limit: 8, got: 10, field: 'passages[1]' });
    const { value } = await settle(service, make(service).rerank({ ...long, truncate: true }));
    expect(value?.truncated).toEqual([false, true]);
    expect(service.log.held).toBe(0);
  });

  it('names the passage whose score is not a number', async () => {
    const service = openFakeService({ m: { factor: Number.NaN } });
    const { error } = await settle(service, make(service).rerank(ask(['1', '2'])));
    expect(error?.code).toBe('not_a_number');
    expect(error?.params).toEqual({ row: 0 });
  });

  describe('ends with its deadline or its client, wherever it is, and gives the model back', () => {
    const places: readonly (readonly [where: string, model: object, encodeMs: number])[] = [
      ['while the model loads', { loadMs: 1000 }, 0],
      ['while it is tokenized', {}, 1000],
      ['while it is scored', { batchMs: 1000 }, 0],
    ];
    it.each(places)('%s: deadline', async (_, model, encodeMs) => {
      const service = openFakeService({ m: { factor: 1, ...model } });
      service.log.encodeMs = encodeMs;
      let endedAt = -1;
      const promise = make(service)
        .rerank(ask(['1'], { deadlineMs: 200 }))
        .finally(() => {
          endedAt = service.clock.now();
        });
      const { error } = await settle(service, promise);
      expect(error?.code).toBe('deadline_exceeded');
      expect(error?.params).toEqual({ deadlineMs: 200 });
      expect(endedAt).toBe(200);
      expect(service.log.held).toBe(0);
    });

    it.each(places)('%s: client', async (_, model, encodeMs) => {
      const service = openFakeService({ m: { factor: 1, ...model } });
      service.log.encodeMs = encodeMs;
      const client = new AbortController();
      service.clock.after(100, () => client.abort());
      let endedAt = -1;
      const promise = make(service)
        .rerank(ask(['1'], { signal: client.signal }))
        .finally(() => {
          endedAt = service.clock.now();
        });
      const { error } = await settle(service, promise);
      expect(error?.code).toBe('client_closed');
      expect(endedAt).toBe(100);
      expect(service.log.held).toBe(0);
    });

    it('a client that has gone already costs nothing', async () => {
      const service = openFakeService({ m: { factor: 1 } });
      const { error } = await settle(service, make(service).rerank(ask(['1'], { signal: AbortSignal.abort() })));
      expect(error?.code).toBe('client_closed');
      expect(service.log.encoded).toHaveLength(0);
    });
  });

  it('leaves no timer behind', async () => {
    const service = openFakeService({ m: { factor: 1 } });
    const promise = make(service).rerank(ask(['1'], { deadlineMs: 60_000 }));
    await settle(service, promise);
    expect(service.clock.now()).toBe(10);
    expect(service.clock.pending).toBe(0);
  });

  it('closes tokenizers of models long unused, never one in use', async () => {
    const service = openFakeService({ m: { factor: 1 } });
    const shelf = new TokenizerShelf(service.tokenizers);
    const version = (i: number) => ({ key: `m@${i}`, folder: `/models/m/${i}` }) as ServedVersion;
    const busy = Promise.withResolvers<void>();
    const held = shelf.use(version(0), () => busy.promise);
    for (let i = 1; i < 20; i++) await shelf.use(version(i), async () => {});
    await shelf.use(version(1), async () => {});
    expect(service.log.closed).toEqual([1, 2, 3, 4, 5].map((i) => `/models/m/${i}`));
    busy.resolve();
    await held;
    await shelf.use(version(30), async () => {});
    await service.clock.run();
    expect(service.log.closed.slice(5)).toEqual(['/models/m/0']);
  });

  it('tries a tokenizer that failed to open again', async () => {
    const service = openFakeService({ m: { factor: 1 } });
    let tries = 0;
    const tokenizers = {
      for: async (folder: string) => {
        if (tries++ === 0)
          throw new WinnowError('invalid_input', { where: folder, expected: 'a file', got: 'nothing' });
        return service.tokenizers.for(folder);
      },
    };
    const reranker = createReranker({ ...service, tokenizers });
    expect((await settle(service, reranker.rerank(ask(['1'])))).error?.code).toBe('invalid_input');
    expect((await settle(service, reranker.rerank(ask(['1'])))).value?.ranking).toHaveLength(1);
  });
});

describe('score cache', () => {
  it('scores only what it does not know, per query, model and way of cutting', async () => {
    const service = openFakeService({ m: { factor: 1 }, other: { factor: 2 } });
    const scoreCache = createScoreCache({ bytes: 1 << 16 });
    const reranker = createReranker({ ...service, scoreCache });
    const run = async (more: Parameters<typeof ask>[1], passages = ['1', '2', '3']) => {
      const before = service.log.encoded.length;
      const { value } = await settle(service, reranker.rerank(ask(passages, more)));
      return { value, texts: service.log.encoded.slice(before).flatMap((texts) => texts.slice(1)) };
    };
    expect((await run({})).texts).toEqual(['1', '2', '3']);
    const second = await run({}, ['9', '3', '1']);
    expect(second.texts).toEqual(['9']);
    expect(indexes(second.value)).toEqual([0, 1, 2]);
    expect(second.value!.tokens).toBe(4);
    expect((await run({})).texts).toEqual([]);
    expect((await run({ query: 'p' })).texts).toEqual(['1', '2', '3']);
    expect((await run({ model: 'other' })).texts).toEqual(['1', '2', '3']);
    expect((await run({ side: 'left' })).texts).toEqual(['1', '2', '3']);
    expect(scoreCache.stats()).toMatchObject({ hits: 5, misses: 13 });
  });

  it('knows what a pair left out, and another limit as another pair', async () => {
    const service = openFakeService({ m: { factor: 1, maxQueryTokens: 2 }, whole: { factor: 1 } });
    const reranker = createReranker({ ...service, scoreCache: createScoreCache({ bytes: 1 << 16 }) });
    const cutOf = async (more: Parameters<typeof ask>[1]) =>
      (await settle(service, reranker.rerank(ask(['1', '2'], { query: 'four words are here', ...more })))).value
        ?.queryCut;
    for (const expected of [2, 2]) expect(await cutOf({})).toBe(expected);
    expect(service.log.encoded).toHaveLength(1);
    expect(await cutOf({ maxQueryTokens: 1 })).toBe(3);
    expect(await cutOf({ model: 'whole' })).toBe(0);
    expect(await cutOf({ cascade: [{ model: 'm', keep: 1 }, { model: 'whole' }] })).toBe(2);
  });

  it('does not hide that a pair is too long', async () => {
    const service = openFakeService({ m: { factor: 1, maxLength: 8 } });
    const scoreCache = createScoreCache({ bytes: 1 << 16 });
    const reranker = createReranker({ ...service, scoreCache });
    const long = ['1 2', '1 2 3 4 5 6 7'];
    const warm = await settle(service, reranker.rerank(ask(long)));
    const known = await settle(service, reranker.rerank(ask(long)));
    expect([warm.value?.truncated, known.value?.truncated]).toEqual([
      [false, true],
      [false, true],
    ]);
    const { error } = await settle(service, reranker.rerank(ask(long, { truncate: false })));
    expect(error?.params).toEqual({ limit: 8, got: 10, field: 'passages[1]' });
  });

  it('names passages by their place in the request when only some are scored', async () => {
    let broken = false;
    const service = openFakeService({
      m: {
        factor: 1,
        get fail() {
          return broken
            ? () => new WinnowError('inference_failed', { reason: 'row 0 fails alone: bad', row: 0 })
            : undefined!;
        },
      },
    });
    const scoreCache = createScoreCache({ bytes: 1 << 16 });
    const reranker = createReranker({ ...service, scoreCache });
    await settle(service, reranker.rerank(ask(['1', '2'])));
    broken = true;
    const { error } = await settle(service, reranker.rerank(ask(['1', '2', '3'])));
    expect(error?.params).toEqual({ reason: 'row 2 fails alone: bad', row: 2 });
  });

  const version = { name: 'm', version: '1', sha256: 's', variant: 'fp32', provider: 'cpu' } as never;

  it('stays within its bytes, least recently used first out', async () => {
    const cache = createScoreCache({ bytes: 10 * 320 });
    const passages = Array.from({ length: 25 }, (_, i) => String(i));
    const pairs = await cache.pairs({ version, options: {} as never, query: 'q', passages });
    for (let i = 0; i < 25; i++) {
      pairs.set(i, { score: i, truncated: false, queryCut: 0 });
      pairs.get(0);
    }
    expect(cache.stats()).toMatchObject({ entries: 10, bytes: 3200 });
    expect(pairs.get(0)?.score).toBe(0);
    expect(pairs.get(24)?.score).toBe(24);
    expect(pairs.get(5)).toBeUndefined();
  });

  it('knows scores by their instruction and template', async () => {
    const cache = createScoreCache({ bytes: 1 << 16 });
    const request = { version, options: { instruction: 'a' } as never, query: 'q', passages: ['p'] };
    (await cache.pairs(request)).set(0, { score: 1, truncated: false, queryCut: 0 });
    const scoreOf = async (more: object) => (await cache.pairs({ ...request, ...more })).get(0)?.score;
    expect(await scoreOf({})).toBe(1);
    expect(await scoreOf({ options: { instruction: 'b' } })).toBeUndefined();
    expect(
      await scoreOf({ version: { ...(version as object), template: { body: '{query} {document}' } } }),
    ).toBeUndefined();
  });

  it('leaves turns of the event loop to others while it hashes', async () => {
    const cache = createScoreCache({ bytes: 320 });
    const texts = {
      query: 'x'.repeat(4 << 20),
      passages: [...Array(50).fill('é'.repeat(1 << 17)), 'y'.repeat(4 << 20)],
    };
    let turns = 0;
    const count = () => {
      turns++;
      timer = setImmediate(count);
    };
    let timer = setImmediate(count);
    await cache.pairs({ version, options: {} as never, ...texts });
    clearImmediate(timer);
    // 14 M units of text, at most 1 M a turn.
    expect(turns).toBeGreaterThanOrEqual(13);
  });
});

describe('scorer', () => {
  const inputs = [1, 2, 3, 4, 5, 6].map((id) => ({ id, query: 'q', passages: Array(20).fill(String(id)) as string[] }));

  it('yields every request in order under one lease, so many passages ahead and no more', async () => {
    const service = openFakeService({ m: { factor: 1, batchMs: 10 } });
    const scorer = createScorer({ ...service });
    const taken: number[] = [];
    function* stream() {
      for (const input of inputs) {
        taken.push(input.id);
        yield input;
      }
    }
    const outputs: { id: number; scores: number[] }[] = [];
    const run = (async () => {
      for await (const { input, scores, version } of scorer.score(stream(), { passagesAhead: 40 })) {
        expect([version.key, service.log.held]).toEqual(['m@1', 1]);
        expect(Math.max(...taken)).toBeLessThanOrEqual(input.id + 2);
        outputs.push({ id: input.id, scores: [...scores] });
      }
    })();
    await settle(service, run);
    await run;
    expect(outputs).toEqual(inputs.map(({ id }) => ({ id, scores: Array(20).fill(id) })));
    expect(service.log.held).toBe(0);
  });

  it('waits where the scheduler is full instead of failing', async () => {
    const service = openFakeService({ m: { factor: 1, batchMs: 400 } });
    const interactive = createReranker({ ...service });
    // Fills the queue to its bound of 100,000 tokens.
    const crowd = interactive.rerank(ask(Array(3000).fill(Array(30).fill('1').join(' ')), { deadlineMs: 1e9 }));
    const outputs: number[] = [];
    const run = (async () => {
      for await (const { scores } of createScorer({ ...service }).score(inputs)) outputs.push(scores.length);
    })();
    await settle(service, Promise.all([run, crowd]));
    expect(outputs).toEqual(Array(6).fill(20));
  });

  it('ending the loop early withdraws the rest and gives the model back', async () => {
    const service = openFakeService({ m: { factor: 1, batchMs: 10 } });
    const run = (async () => {
      for await (const output of createScorer({ ...service }).score(inputs)) return output.input.id;
      return undefined;
    })();
    expect((await settle(service, run)).value).toBe(1);
    expect(service.scheduler.queued()).toEqual({ tokens: 0, rows: 0, jobs: 0 });
    expect(service.log.held).toBe(0);
  });

  it('a failure is thrown in the order of its request, an unknown model at once', async () => {
    const service = openFakeService({ m: { factor: Number.NaN } });
    const scorer = createScorer({ ...service });
    const first = settle(service, scorer.score(inputs).next());
    expect((await first).error?.code).toBe('not_a_number');
    expect((await settle(service, scorer.score(inputs, { model: 'x' }).next())).error?.code).toBe('unknown_model');
    expect(service.log.held).toBe(0);
  });
});
