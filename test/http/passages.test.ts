import request from 'supertest';
import { beforeEach, describe, expect, it } from 'vitest';
import { createApp } from '../../src/http/app.ts';
import { hashKey } from '../../src/http/keys.ts';
import { KEPT_COUNTS as counts, type FakeDeps, fakeDeps, fakePassages } from './fakes.ts';

let passages: ReturnType<typeof fakePassages>;
let deps: FakeDeps;
beforeEach(() => {
  passages = fakePassages();
  deps = fakeDeps({ passages: passages.api });
});

const post = (body: object, headers: Record<string, string> = {}, at = deps) =>
  request(createApp(at)).post('/v1/passages').set(headers).send(body);

const key = (name: string, ...scopes: ('rerank' | 'admin')[]) => ({ name, hash: hashKey(name), scopes });
const KEYS = [key('ann', 'rerank'), key('bob', 'rerank'), key('root', 'admin')];
const as = (name: string) => ({ authorization: `Bearer ${name}` });

describe('POST /v1/passages', () => {
  it('reads documents in all forms that requests to rank have, and answers counts', async () => {
    const { status, body, headers } = await post({
      model: 'org/tiny',
      documents: [
        'a',
        { text: 'b' },
        { content: [{ type: 'text', text: 'c' }] },
        ['d'].map((text) => ({ type: 'text', text })),
      ],
    });
    expect([status, body]).toEqual([
      200,
      {
        ...{ object: 'passages', model: 'tiny', version: '1', documents: 4, stored: 4, present: 0, not_kept: 0 },
        ...{ too_long: 0, left_out: 0, tokens: 10, bytes: 64 },
      },
    ]);
    expect(passages.warmed[0]).toMatchObject({ model: 'tiny', passages: ['a', 'b', 'c', 'd'], truncate: true });
    expect(headers['x-winnow-model']).toBe('tiny@1');
    expect(deps.telemetry.events[0]).toMatchObject({ route: '/v1/passages', lane: 'batch', passages: 4, tokens: 10 });
    await post({ documents: [{ title: 't', body: 'b', text: 'no' }], rank_fields: ['title', 'body'] });
    expect(passages.warmed[1]!.passages).toEqual(['t\nb']);
  });

  it('says which documents are too long, and what became of them', async () => {
    const long = 'x'.repeat(30);
    const cut = await post({ documents: ['a', long, 'b', long] });
    expect(cut.body).toMatchObject({
      ...{ stored: 4, too_long: 2, left_out: 0, too_long_at: [1, 3], warnings: ['2 of 4 documents were truncated'] },
    });
    const left = await post({ documents: ['a', long], truncation: false });
    expect(left.body).toMatchObject({
      ...{ stored: 1, too_long: 1, left_out: 1, too_long_at: [1] },
      warnings: ['1 of 2 documents are too long and were left out'],
    });
    const many = await post({ documents: Array.from({ length: 150 }, () => long) });
    expect([many.body.too_long, many.body.too_long_at.length]).toEqual([150, 100]);
  });

  it('passes on what decides how passages are cut, deadline, priority and caller', async () => {
    deps = fakeDeps({ passages: passages.api, keys: KEYS });
    const cut = { long_passages: 'max', max_chunks_per_doc: 3, truncation_side: 'left', max_tokens_per_doc: 99 };
    await post({ documents: ['a'], ...cut, priority: -1, timeout_ms: 77 }, as('ann'));
    expect(passages.warmed[0]).toMatchObject({
      ...{ longPassages: 'max', maxWindows: 3, side: 'left', maxPassageTokens: 99, priority: 0, deadlineMs: 77 },
      subject: { key: 'ann' },
    });
    expect(passages.warmed[0]).not.toHaveProperty('query');
    await post({ documents: ['a'] }, { ...as('ann'), 'x-winnow-deadline-ms': '123' });
    expect(passages.warmed[1]).toMatchObject({ deadlineMs: 123 });
  });

  it('names fields without effect, and texts that it repaired', async () => {
    const { headers, body } = await post({ documents: ['a\0'], query: 'q', top_n: 3, max_tokens_per_query: 5 });
    expect(headers['x-winnow-ignored']).toBe('query, top_n, max_tokens_per_query');
    expect(headers['x-winnow-repaired']).toBe('1');
    expect(body.warnings).toContain('`top_n` is not supported and had no effect');
    expect(passages.warmed[0]!.passages).toEqual(['a']);
  });

  it.each([
    [{ documents: [] }, 400, 'expected at least 1 passage, got 0 (`documents` cannot be empty)'],
    [{}, 422, 'expected an array of strings or objects, got nothing (documents)'],
    [{ documents: ['a', 1] }, 422, 'expected a string or an object with `text`, got 1 (number) (documents[1])'],
    [
      { documents: ['a'], truncation: 'longest_first' },
      422,
      'expected a boolean, got "longest_first" (string) (truncation)',
    ],
    [{ documents: ['a'], model: 'other' }, 422, 'expected a bi-encoder, got other (model)'],
    [{ documents: ['a', 'broken'] }, 424, 'score is NaN (row 1)'],
  ])('refuses %j', async (body, status, message) => {
    const answer = await post(body);
    expect(answer.status).toBe(status);
    expect(answer.body.message).toEqual(typeof message === 'string' ? message : expect.stringMatching(message));
  });

  it('counts documents on the budget that requests to rank have', async () => {
    const app = createApp(fakeDeps({ passages: passages.api, options: { passagesPerMinute: 5, maxPassages: 4 } }));
    const send = (path: string, body: object) => request(app).post(path).send(body);
    expect((await send('/v1/passages', { documents: ['a', 'b', 'c'] })).status).toBe(200);
    expect((await send('/rerank', { query: 'q', texts: ['a', 'b', 'c'] })).body.code).toBe('rate_limited');
    expect((await send('/v1/passages', { documents: ['a', 'b', 'c', 'd', 'e'] })).body.code).toBe('too_many_passages');
  });
});

describe('GET and DELETE /v1/passages', () => {
  it('show the entries of the key, or all for scope admin and where keys share them', async () => {
    const get = (who: string, api = passages.api) =>
      request(createApp(fakeDeps({ passages: api, keys: KEYS })))
        .get('/v1/passages')
        .set(as(who));
    const own = await get('ann');
    const { entries, ...more } = counts;
    expect(own.body).toEqual({
      ...{ object: 'passages', of: 'own', shared: false, limit_bytes: 1000, entries, ...more, hit_rate: 0.75 },
      models: [{ model: 'tiny', version: '1', variant: 'int8', ...counts, hit_rate: 0.75 }],
    });
    const all = await get('root');
    expect(all.body).toMatchObject({ of: 'all', file: { entries: 1, bytes: 50, unwritten: 0, damaged: 0 } });
    expect(passages.reports).toEqual(['ann', undefined]);
    const shared = fakePassages(true);
    expect((await get('ann', shared.api)).body).toMatchObject({ of: 'all', shared: true });
    expect(shared.reports).toEqual([undefined]);
  });

  it('remove the entries of the key, or all for scope admin, of one model or of all', async () => {
    const app = createApp(fakeDeps({ passages: passages.api, keys: KEYS }));
    const remove = (who: string, query = '') => request(app).delete(`/v1/passages${query}`).set(as(who));
    expect((await remove('ann')).body).toEqual({ object: 'passages', of: 'own', entries: 2, bytes: 100 });
    expect((await remove('bob', '?model=org/tiny')).body.of).toBe('own');
    expect((await remove('root', '?model=tiny@1')).body.of).toBe('all');
    expect((await remove('root').send({ model: 'tiny:stable' })).status).toBe(200);
    expect(passages.cleared).toMatchObject([
      [undefined, 'ann'],
      [[{ name: 'tiny' }], 'bob'],
      [[{ name: 'tiny', version: '1' }], undefined],
      [[{ name: 'tiny', version: '1' }], undefined],
    ]);
  });

  it('refuse what would remove more than was meant', async () => {
    const app = createApp(deps);
    const remove = (query: string, body?: object) => {
      const sent = request(app).delete(`/v1/passages${query}`);
      return body ? sent.send(body) : sent;
    };
    expect((await remove('?modle=tiny')).body.message).toMatch(/modle/);
    expect((await remove('', { models: 'tiny' })).body.message).toMatch(/models/);
    expect((await remove('?model=tiny', { model: 'other' })).body.message).toMatch(/model/);
    expect((await remove('?model=none')).body.code).toBe('unknown_model');
    expect((await remove('?model=tiny@9')).body.code).toBe('unknown_version');
    expect(passages.cleared).toEqual([]);
  });

  it('remove nothing that others use, without scope admin', async () => {
    const shared = fakePassages(true);
    const keyed = createApp(fakeDeps({ passages: shared.api, keys: KEYS }));
    expect((await request(keyed).delete('/v1/passages').set(as('ann'))).body.code).toBe('forbidden');
    expect((await request(keyed).delete('/v1/passages').set(as('root'))).status).toBe(200);
    // Another machine, where there are no keys.
    const open = createApp(fakeDeps({ passages: passages.api, options: { trustedProxies: 1 } }));
    const far = { 'x-forwarded-for': '203.0.113.9' };
    expect((await request(open).delete('/v1/passages').set(far)).body.code).toBe('not_local');
    expect((await request(open).get('/v1/passages').set(far)).body.of).toBe('own');
    expect(passages.cleared).toEqual([]);
  });
});

it('all three say that no passages are kept where the cache is off', async () => {
  const { passages: _, ...without } = fakeDeps();
  const app = createApp(without);
  for (const answer of [
    await request(app)
      .post('/v1/passages')
      .send({ documents: ['a'] }),
    await request(app).get('/v1/passages'),
    await request(app).delete('/v1/passages'),
  ])
    expect([answer.status, answer.body.code]).toEqual([409, 'passage_cache_off']);
});
