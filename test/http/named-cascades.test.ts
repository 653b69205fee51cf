import request from 'supertest';
import { describe, expect, it } from 'vitest';
import { createApp } from '../../src/http/app.ts';
import type { HttpOptions } from '../../src/http/ports.ts';
import { Aliases, lastStages } from '../../src/registry/aliases.ts';
import { fakeDeps, fakeRegistry } from './fakes.ts';

const STAGES = [
  { model: 'other', keep: 20 },
  { model: 'tiny:stable', blend: 0.5 },
];
const CASCADES = { accurate: STAGES, tiny: STAGES };

function open(options: Partial<HttpOptions> = {}) {
  const registry = fakeRegistry();
  const aliases = new Aliases(lastStages(CASCADES));
  const names = registry.list().map(({ name }) => name);
  const deps = fakeDeps({
    registry: {
      ...registry,
      canonical: (reference) => aliases.canonical(reference, (name) => names.includes(name)),
      aliases: () => aliases.named(),
    },
    options: { cascades: CASCADES, ...options },
  });
  const app = createApp(deps);
  const sent = async (path: string, body: object) => {
    await request(app).post(path).send(body);
    const { model, cascade } = deps.reranker.requests.at(-1)!;
    return { model, cascade };
  };
  return { app, sent };
}

describe('a cascade with a name', () => {
  it.each([
    ['/v2/rerank', { model: 'accurate', query: 'q', documents: ['a', 'b'] }],
    ['/rerank', { model: 'accurate', query: 'q', texts: ['a', 'b'] }],
    // Answered in the order sent: these formats have no field `cascade`.
    ['/score', { model: 'accurate', data_1: 'q', data_2: ['a', 'b'] }],
    ['/rerank', { model: 'accurate', query: 'q', documents: ['a', 'b'], property: 'text' }],
    [
      '/v2/models/accurate/infer',
      {
        inputs: [
          { name: 'query', shape: [1], datatype: 'BYTES', data: ['q'] },
          { name: 'passages', shape: [2], datatype: 'BYTES', data: ['a', 'b'] },
        ],
      },
    ],
  ])('is what a request of %s names: %j', async (path, body) => {
    expect(await open().sent(path, body)).toEqual({ model: undefined, cascade: STAGES });
  });

  it('gives way to a model of the registry', async () => {
    const body = { model: 'tiny', query: 'q', documents: ['a'] };
    expect(await open().sent('/v2/rerank', body)).toEqual({ model: 'tiny', cascade: undefined });
    expect(await open().sent('/v2/rerank', { ...body, model: 'org/none' })).toMatchObject({ model: 'org/none' });
    expect(await open().sent('/v2/rerank', { ...body, model: '__proto__' })).toMatchObject({ model: '__proto__' });
  });

  it('may be the default; a cascade of the request comes before it', async () => {
    const { sent } = open({ defaultModel: 'accurate' });
    const body = { query: 'q', documents: ['a'] };
    expect(await sent('/v2/rerank', body)).toEqual({ model: undefined, cascade: STAGES });
    const own = [{ model: 'tiny', keep: 1 }, { model: 'other' }];
    expect(await sent('/v2/rerank', { ...body, cascade: own })).toEqual({ model: undefined, cascade: own });
    expect(await sent('/v2/rerank', { ...body, model: 'other' })).toEqual({ model: 'other', cascade: undefined });
  });

  it('is refused beside a cascade of the request', async () => {
    const { app } = open();
    const body = { model: 'accurate', query: 'q', documents: ['a'], cascade: [{ model: 'tiny' }] };
    const { status, body: answer } = await request(app).post('/v2/rerank').send(body);
    expect([status, answer.code, answer.message]).toEqual([422, 'invalid_field', expect.stringContaining('cascade')]);
  });

  it('is listed with its stages and the version that answers', async () => {
    const { body } = await request(open().app).get('/v1/models').expect(200);
    const entry = body.data.find(({ id }: { id: string }) => id === 'accurate');
    expect(entry).toMatchObject({ kind: 'alias', name: 'tiny', version: '1', state: 'ready', cascade: STAGES });
    expect(body.data.filter(({ cascade }: { cascade?: unknown }) => cascade)).toHaveLength(1);
    expect(body.models.map(({ name }: { name: string }) => name)).toContain('accurate');
    const { body: shown } = await request(open().app).get('/v1/models/accurate').expect(200);
    expect(shown.versions[0]).toMatchObject({ name: 'tiny', version: '1' });
  });
});
