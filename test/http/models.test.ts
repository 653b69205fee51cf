import request from 'supertest';
import { beforeEach, describe, expect, it } from 'vitest';
import { createApp } from '../../src/http/app.ts';
import { type FakeDeps, fakeDeps } from './fakes.ts';

let deps: FakeDeps;
let app: ReturnType<typeof createApp>;
beforeEach(() => {
  deps = fakeDeps();
  app = createApp(deps);
});

describe('GET /v1/models', () => {
  it('lists every name, in the order in which clients should choose', async () => {
    const { body } = await request(app).get('/v1/models');
    const names = body.data.map(({ id, kind, state }: Record<string, string>) => [id, kind, state]);
    expect(names).toEqual([
      ['tiny', 'model', 'ready'],
      ['other', 'model', 'available'],
      ['org/tiny', 'alias', 'ready'],
      ['other:latest', 'alias', 'available'],
      ['tiny:stable', 'label', 'ready'],
      ['tiny@1', 'version', 'ready'],
      ['other@1', 'version', 'available'],
      ['tiny@2', 'version', 'refused'],
    ]);
    // Cohere's form.
    expect(body.models.map(({ name }: { name: string }) => name)).toEqual(
      names.slice(0, 7).map(([id]: string[]) => id),
    );
    expect(body.models[0]).toEqual({ name: 'tiny', endpoints: ['rerank'], finetuned: false, context_length: 512 });
  });

  it('lists versions with states and reasons', async () => {
    const { body } = await request(app).get('/v1/models');
    expect(body.object).toBe('list');
    expect(body.data.filter(({ kind }: { kind: string }) => kind === 'version')).toEqual([
      {
        id: 'tiny@1',
        kind: 'version',
        object: 'model',
        created: 1_700_000_000,
        owned_by: 'winnow',
        name: 'tiny',
        version: '1',
        state: 'ready',
        labels: ['stable'],
        default: true,
        variant: 'int8',
        provider: 'cpu',
        max_length: 512,
        activation: 'sigmoid',
        objective: 'binary-cross-entropy',
        warnings: ['a file is not applied'],
        bytes: 24_000_000,
        last_used: 1_700_000_000_000,
      },
      expect.objectContaining({ id: 'other@1', state: 'available', default: false }),
      expect.objectContaining({ id: 'tiny@2', state: 'refused', reason: 'all scores are equal' }),
    ]);
  });

  it('marks what the default means, also where it names a version or a label', async () => {
    const marked = async (defaultModel: string) => {
      const registry = { ...deps.registry, defaultModel };
      const { body } = await request(createApp({ ...deps, registry })).get('/v1/models');
      const all = body.data as { id: string; kind: string; default: boolean }[];
      return all.filter((one) => one.default && one.kind === 'version').map(({ id }) => id);
    };
    expect(await marked('tiny')).toEqual(['tiny@1', 'tiny@2']);
    expect(await marked('tiny@2')).toEqual(['tiny@2']);
    expect(await marked('tiny:stable')).toEqual(['tiny@1']);
  });

  it('shows one model or version', async () => {
    const model = await request(app).get('/v1/models/tiny');
    expect(model.body.versions.map(({ id }: { id: string }) => id)).toEqual(['tiny@1', 'tiny@2']);
    const version = await request(app).get('/v1/models/tiny@2');
    expect(version.body.versions).toHaveLength(1);
    const none = await request(app).get('/v1/models/none');
    expect(none.status).toBe(404);
    expect(none.body.message).toBe(
      'expected one of tiny, other, got model none; registry.aliases gives a model further names',
    );
    expect((await request(app).get('/v1/models/tiny@9')).body.code).toBe('unknown_version');
  });
});

describe('names of clients', () => {
  const BODY = { query: 'q', documents: ['a', 'b'] };

  it.each([
    ['org/tiny', 'tiny'],
    ['other:latest', 'other@1'],
    ['tiny', 'tiny'],
    ['tiny@1', 'tiny@1'],
    ['tiny:stable', 'tiny:stable'],
    ['nobody', 'nobody'],
  ])('in a body: %s is %s', async (model, own) => {
    await request(app)
      .post('/v1/rerank')
      .send({ ...BODY, model });
    expect(deps.reranker.requests.at(-1)?.model).toBe(own);
  });

  it.each([
    ['/v2/models/org%2Ftiny/infer', 'tiny'],
    ['/v2/models/org%2Ftiny/versions/2/infer', 'tiny@2'],
    ['/v2/models/org/tiny/infer', 'tiny'],
    ['/v2/models/org/tiny/versions/2/infer', 'tiny@2'],
    ['/v2/models/other:latest/versions/1/infer', 'other@1'],
  ])('in a path: %s is %s', async (path, own) => {
    const inputs = [
      { name: 'query', shape: [1], datatype: 'BYTES', data: ['q'] },
      { name: 'passages', shape: [1], datatype: 'BYTES', data: ['a'] },
    ];
    await request(app).post(path).send({ inputs });
    expect(deps.reranker.requests.at(-1)?.model).toBe(own);
  });

  it.each([
    ['/v1/models/org%2Ftiny', ['tiny@1', 'tiny@2']],
    ['/v1/models/org/tiny', ['tiny@1', 'tiny@2']],
    ['/v1/models/tiny:stable', ['tiny@1']],
    ['/v1/models/other:latest', ['other@1']],
  ])('at %s', async (path, ids) => {
    const { body } = await request(app).get(path);
    expect(body.versions.map(({ id }: { id: string }) => id)).toEqual(ids);
  });

  it.each(['/v1/models/BAAI/bge-reranker-v2-m3', '/v1/models/BAAI%2Fbge-reranker-v2-m3'])(
    '%s is 404 with the way to give a name',
    async (path) => {
      const answer = await request(app).get(path);
      expect(answer.status).toBe(404);
      expect(answer.body.message).toContain(
        'expected one of tiny, other, got model BAAI/bge-reranker-v2-m3; registry.aliases',
      );
    },
  );

  it('of a label, where the path says which version', async () => {
    const registry = { ...deps.registry, canonical: (name: string) => (name === 'latest' ? 'tiny:stable' : name) };
    const aliased = createApp({ ...deps, registry });
    const { body } = await request(aliased).get('/v2/models/latest/versions/2');
    expect(body).toMatchObject({ name: 'latest', versions: ['2'] });
    await request(aliased).put('/v1/models/latest/labels/canary').send({ version: '1' }).expect(200);
    await request(aliased).post('/v2/repository/models/latest/unload').expect(404);
    expect(deps.registry.calls).toEqual(['label tiny canary 1', 'unload tiny:stable@']);
  });

  it('at the routes of KServe and the repository', async () => {
    expect((await request(app).get('/v2/models/org%2Ftiny/ready')).body).toEqual({ name: 'org/tiny', ready: true });
    for (const part of ['', '/versions/1', '/ready', '/versions/1/ready', '/config', '/versions/1/config', '/stats'])
      expect((await request(app).get(`/v2/models/org/tiny${part}`)).status).toBe(200);
    const wrong = await request(app).post('/v2/models/org/tiny/infers').send({});
    expect([wrong.status, wrong.body.code]).toEqual([404, 'not_found']);
    await request(app).post('/v2/repository/models/org/tiny/load').send({}).expect(200);
    await request(app).post('/v2/repository/models/org%2Ftiny/load').send({});
    await request(app).put('/v1/models/org%2Ftiny/labels/canary').send({ version: '1' });
    expect(deps.registry.calls.slice(-2)).toEqual([expect.stringContaining('load tiny'), 'label tiny canary 1']);
  });
});

describe('labels', () => {
  it('are set by name', async () => {
    const answer = await request(app).put('/v1/models/tiny/labels/canary').send({ version: 2 });
    expect(answer.body).toEqual({ name: 'tiny', label: 'canary', version: '2' });
    expect(deps.registry.calls).toEqual(['label tiny canary 2']);
  });

  it.each([
    ['/v1/models/tiny/labels/canary', {}, 422],
    ['/v1/models/tiny/labels/canary', { version: [] }, 422],
    ['/v1/models/tiny/labels/canary', { version: '9' }, 404],
    ['/v1/models/none/labels/canary', { version: '1' }, 404],
    ['/v1/models/tiny/labels/..%2Fx', { version: '1' }, 422],
    ['/v1/models/tiny/labels/1', { version: '1' }, 422],
  ])('%s with %j is %i', async (path, body, status) => {
    expect((await request(app).put(path).send(body)).status).toBe(status);
  });
});

describe("Triton's repository", () => {
  it('lists, with and without a body', async () => {
    const all = [
      { name: 'tiny', version: '1', state: 'READY', reason: '' },
      { name: 'tiny', version: '2', state: 'UNAVAILABLE', reason: 'all scores are equal' },
      { name: 'other', version: '1', state: 'UNAVAILABLE', reason: 'available' },
    ];
    expect((await request(app).post('/v2/repository/index')).body).toEqual(all);
    expect((await request(app).post('/v2/repository/index').send({ ready: true })).body).toEqual(all.slice(0, 1));
  });

  it('loads and unloads models and versions', async () => {
    const loaded = await request(app).post('/v2/repository/models/other/load');
    expect(loaded.body).toMatchObject({ name: 'other', versions: [{ id: 'other@1', state: 'ready' }] });
    await request(app).post('/v2/repository/models/tiny@1/load').expect(200);
    await request(app)
      .post('/v2/repository/models/tiny/load')
      .send({ parameters: { version: '2' } })
      .expect(200);
    const unloaded = await request(app).post('/v2/repository/models/tiny/unload').send({});
    expect(unloaded.body.versions[0].state).toBe('unloaded');
    expect(deps.registry.calls).toEqual(['load other@', 'load tiny@1', 'load tiny@2', 'unload tiny@']);
    await request(app).post('/v2/repository/models/tiny/load').set('transfer-encoding', 'chunked').expect(200);
    await request(app).post('/v2/repository/models/none/load').expect(404);
    await request(app).post('/v2/repository/models/none/unload').expect(404);
  });
});

describe('the description of the service', () => {
  it("has the form of TEI's", async () => {
    const { body } = await request(app).get('/info');
    expect(body).toMatchObject({
      model_id: 'tiny',
      model_sha: 'ab'.repeat(32),
      model_version: '1',
      model_dtype: 'int8',
      served_model_name: 'tiny',
      model_type: { reranker: { id2label: { 0: 'LABEL_0' }, label2id: { LABEL_0: 0 } } },
      max_concurrent_requests: null,
      max_input_length: 512,
      max_batch_tokens: 4096,
      max_batch_requests: 64,
      max_client_batch_size: 10_000,
      auto_truncate: true,
      tokenization_workers: 2,
      version: '0.1.0',
      provider: 'cpu',
      hosts: 2,
      sha: null,
      score: 'sigmoid(logit) unless raw_scores',
    });
    expect(deps.registry.calls).toEqual(['acquire tiny', 'release']);
  });

  it('states how the served version makes relevance scores, also where the default names a version or a label', async () => {
    const { registry } = deps;
    const logits = {
      ...registry,
      acquire: async (reference?: string) => {
        const lease = await registry.acquire(reference);
        return { ...lease, version: { ...lease.version, activation: 'none' as const } };
      },
    };
    const score = async (defaultModel: string) =>
      (await request(createApp({ ...deps, registry: { ...logits, defaultModel } })).get('/info')).body.score;
    for (const reference of ['tiny', 'tiny@1', 'tiny:stable']) expect(await score(reference)).toBe('logit');
    registry.calls.length = 0;
    // A version that is not in memory is not loaded to answer.
    for (const reference of ['tiny@2', 'tiny:canary', 'other']) expect(await score(reference)).toBeNull();
    expect(registry.calls).toEqual([]);
  });

  it('does not load a model to answer', async () => {
    await request(app).post('/v2/repository/models/tiny/unload');
    deps.registry.calls.length = 0;
    const { body } = await request(app).get('/info');
    expect(body).toMatchObject({ model_id: 'tiny', model_sha: null, max_input_length: null, score: null });
    expect(deps.registry.calls).toEqual([]);
  });

  it("has the forms of KServe's and Weaviate's", async () => {
    expect((await request(app).get('/v2')).body).toMatchObject({ name: 'winnow', version: '0.1.0' });
    expect((await request(app).get('/v2/models/tiny')).body).toMatchObject({ name: 'tiny', versions: ['1', '2'] });
    expect((await request(app).get('/v2/models/tiny/versions/2')).body.versions).toEqual(['2']);
    expect((await request(app).get('/v2/models/tiny/ready')).body).toEqual({ name: 'tiny', ready: true });
    const refused = await request(app).get('/v2/models/tiny/versions/2/ready');
    expect([refused.status, refused.body.ready]).toEqual([503, false]);
    expect((await request(app).get('/v2/models/none')).status).toBe(404);
    expect((await request(app).get('/meta')).body).toEqual({
      model: 'tiny',
      model_version: '1',
      max_length: 512,
      version: '0.1.0',
    });
  });
});

describe('probes', () => {
  const READY = ['/', '/health', '/ping', '/health/ready', '/.well-known/ready', '/v2/health/ready'];

  it('answer by readiness', async () => {
    for (const path of READY) expect((await request(app).get(path)).status, path).toBe(200);
    const starting = createApp(
      fakeDeps({ readiness: { probe: async () => ({ ready: false }), draining: () => false } }),
    );
    for (const path of READY) expect((await request(starting).get(path)).status, path).toBe(503);
    for (const path of ['/health/live', '/.well-known/live', '/v2/health/live'])
      expect((await request(starting).get(path)).status, path).toBe(path.startsWith('/.') ? 204 : 200);
  });

  it('take HEAD', async () => {
    await request(app).head('/health').expect(200);
  });
});

describe('/metrics', () => {
  it('answers what telemetry renders', async () => {
    const { text, headers } = await request(app).get('/metrics');
    expect(text).toBe('winnow_ready 1\n');
    expect(headers['content-type']).toContain('version=0.0.4');
    expect(headers.vary?.toLowerCase()).toContain('accept');
  });

  it.each([
    [undefined, 'text'],
    ['*/*', 'text'],
    ['text/plain', 'text'],
    ['application/openmetrics-text', 'openmetrics'],
    ['application/openmetrics-text; q=0', 'text'],
    ['application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4;q=0.5', 'text'],
    ['text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.2', 'text'],
    // Prometheus 2.42, then 3.
    [
      'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1',
      'openmetrics',
    ],
    [
      'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2',
      'openmetrics',
    ],
  ])('answers Accept %s with %s', async (accept, format) => {
    const asked: string[] = [];
    const base = fakeDeps();
    const metrics = async (wanted: string) => {
      asked.push(wanted);
      return { contentType: 'text/plain', text: '' };
    };
    const ask = request(createApp({ ...base, telemetry: { ...base.telemetry, metrics } })).get('/metrics');
    await (accept === undefined ? ask : ask.set('accept', accept));
    expect(asked).toEqual([format]);
  });
});

describe('the description of the API', () => {
  it('is available as YAML, JSON and a page', async () => {
    const yaml = await request(app).get('/openapi.yaml').buffer(true);
    expect(yaml.headers['content-type']).toContain('application/yaml');
    const { body } = await request(app).get('/openapi.json');
    expect(body.openapi).toBe('3.1.0');
    const page = await request(app).get('/docs');
    for (const path of Object.keys(body.paths)) expect(page.text).toContain(`<code>${path}</code>`);
  });

  it('needs no scripts and no other servers', async () => {
    const { text, headers } = await request(app).get('/docs');
    expect(headers['content-security-policy']).toMatch(
      /^default-src 'none'; style-src 'sha256-[^']+'; base-uri 'none'/,
    );
    expect(text).not.toMatch(/<script|https?:\/\//);
  });
});
