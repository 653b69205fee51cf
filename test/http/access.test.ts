import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import request from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import { createApp } from '../../src/http/app.ts';
import { loadKeys } from '../../src/http/keys.ts';
import { fakeDeps } from './fakes.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'winnow-keys-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const sha256 = (key: string) => createHash('sha256').update(key).digest('hex');

function keyFile(text: string): string {
  const path = join(folder, 'keys.yaml');
  writeFileSync(path, text);
  return path;
}

const FILE = `
keys:
  - name: search
    sha256: ${sha256('search-key')}
  - name: ops
    sha256: ${sha256('ops-key').toUpperCase()}
    scopes: [admin]
`;

const BODY = { query: 'q', texts: ['a', 'b'] };

describe('the key file', () => {
  it('names keys by hash', () => {
    expect(loadKeys(keyFile(FILE)).map(({ name, scopes }) => ({ name, scopes }))).toEqual([
      { name: 'search', scopes: ['rerank'] },
      { name: 'ops', scopes: ['admin'] },
    ]);
  });

  it('is refused with all its faults at once', () => {
    const path = keyFile(
      'keys:\n  - name: "a b"\n    sha256: short\n  - name: x\n    sha256: 7\n    scopes: [root]\n    secret: 1\n',
    );
    const refusal = (() => {
      try {
        loadKeys(path);
      } catch (error) {
        return error as WinnowError;
      }
    })();
    expect(refusal).toBeInstanceOf(WinnowError);
    expect(refusal?.code).toBe('invalid_config');
    for (const part of ['keys[0].name', 'keys[0].sha256', 'keys[1].sha256', 'keys[1].scopes[0]', '`secret`'])
      expect(refusal?.message).toContain(part);
    expect(refusal?.params.count).toBe(5);
  });

  it.each([
    ['twice the same name', `keys:\n  - {name: a, sha256: ${sha256('1')}}\n  - {name: a, sha256: ${sha256('2')}}\n`],
    ['twice the same key', `keys:\n  - {name: a, sha256: ${sha256('1')}}\n  - {name: b, sha256: ${sha256('1')}}\n`],
    ['no YAML', 'keys: ['],
    ['no keys', 'keys: []'],
  ])('is refused: %s', (_what, text) => {
    expect(() => loadKeys(keyFile(text))).toThrow(WinnowError);
  });

  it('is refused with its name if it does not exist', () => {
    expect(() => loadKeys('/nowhere/keys.yaml')).toThrow('/nowhere/keys.yaml');
  });
});

describe('keys', () => {
  const deps = () => fakeDeps({ keys: loadKeys(keyFile(FILE)) });
  const post = (headers: Record<string, string>, path = '/rerank', body: object = BODY, from = deps()) =>
    request(createApp(from)).post(path).set(headers).send(body);

  it.each([
    { authorization: 'Bearer search-key' },
    { authorization: 'bearer search-key' },
    { authorization: 'search-key' },
    { 'x-api-key': 'search-key' },
    { authorization: 'Bearer ops-key' },
  ])('open scoring: %o', async (headers) => {
    await post(headers).expect(200);
  });

  it.each([
    {},
    { authorization: 'Bearer' },
    { authorization: 'Bearer wrong' },
    { authorization: 'Bearer search-key2' },
  ])('are asked for: %o', async (headers) => {
    const answer = await post(headers);
    expect(answer.status).toBe(401);
    expect(answer.headers['www-authenticate']).toBe('Bearer');
    expect(answer.body).toMatchObject({ code: 'unauthorized', error_type: 'Unauthorized' });
    expect(JSON.stringify(answer.body)).not.toContain('wrong');
  });

  it('are checked before the body is read', async () => {
    const answer = await request(createApp(deps())).post('/rerank').set('content-type', 'text/plain').send('{');
    expect(answer.status).toBe(401);
  });

  it('without scope admin cannot change anything', async () => {
    const from = deps();
    for (const [method, path] of [
      ['post', '/v2/repository/models/tiny/load'],
      ['post', '/v2/repository/models/tiny/unload'],
      ['put', '/v1/models/tiny/labels/stable'],
    ] as const) {
      const answer = await request(createApp(from))
        [method](path)
        .set('authorization', 'Bearer search-key')
        .send({ version: '1' });
      expect(answer.status).toBe(403);
      expect(answer.body.message).toBe('expected a key with scope admin, got one with rerank');
    }
    expect(from.registry.calls).toEqual([]);
    await request(createApp(from))
      .put('/v1/models/tiny/labels/canary')
      .set('authorization', 'Bearer ops-key')
      .send({ version: '2' })
      .expect(200);
  });

  it('are not needed for probes, metrics and the description', async () => {
    const app = createApp(deps());
    for (const path of [
      '/',
      '/health',
      '/health/live',
      '/health/ready',
      '/ping',
      '/metrics',
      '/openapi.yaml',
      '/docs',
      '/v2/health/ready',
    ])
      expect((await request(app).get(path)).status, path).toBe(200);
    for (const path of ['/info', '/v1/models', '/meta', '/v2'])
      expect((await request(app).get(path)).status, path).toBe(401);
  });

  it('name the caller in log and experiments, without their text', async () => {
    const from = deps();
    await post({ authorization: 'Bearer search-key', 'x-team': 'red' }, '/rerank', BODY, from);
    expect(from.telemetry.events[0]?.caller).toBe('search');
    const { subject } = from.reranker.requests[0]!;
    expect(subject).toMatchObject({ key: 'search', headers: { 'x-team': 'red' } });
    expect(subject?.headers).not.toHaveProperty('authorization');
    expect(JSON.stringify(from.telemetry.lines)).not.toContain('search-key');
  });

  it('with scope admin may force an arm, others may not', async () => {
    const from = deps();
    const forced = { 'x-winnow-arm': 'b' };
    expect((await post({ authorization: 'Bearer search-key', ...forced })).status).toBe(403);
    await post({ authorization: 'Bearer ops-key', ...forced }, '/rerank', BODY, from).expect(200);
    expect(from.reranker.requests[0]?.subject?.forcedArm).toBe('b');
  });
});

describe('scope outcomes', () => {
  const OUTCOME = { request_id: 'nobody', metric: 'clicks' };
  const key = (name: string, scopes: string) =>
    `  - {name: ${name}, sha256: ${sha256(`${name}-key`)}, scopes: [${scopes}]}\n`;

  async function statuses(file: string, name: string): Promise<readonly number[]> {
    const app = createApp(fakeDeps({ keys: loadKeys(keyFile(`keys:\n${file}`)) }));
    const send = (path: string, body: object) =>
      request(app).post(path).set('authorization', `Bearer ${name}-key`).send(body);
    return [(await send('/rerank', BODY)).status, (await send('/v1/outcomes', OUTCOME)).status];
  }

  it('stands apart from rerank once a key has it', async () => {
    const file =
      key('shop', 'outcomes') + key('search', 'rerank') + key('both', 'rerank, outcomes') + key('ops', 'admin');
    expect(await statuses(file, 'shop')).toEqual([403, 404]);
    expect(await statuses(file, 'search')).toEqual([200, 403]);
    expect(await statuses(file, 'both')).toEqual([200, 404]);
    expect(await statuses(file, 'ops')).toEqual([200, 404]);
  });

  it('is part of rerank in files that do not name it', async () => {
    expect(await statuses(key('search', 'rerank'), 'search')).toEqual([200, 404]);
  });
});

describe('a negative priority', () => {
  const keys = () => loadKeys(keyFile(FILE));
  const priorities = async (headers: Record<string, string>, from = fakeDeps()) => {
    const body = { query: 'q', documents: ['a', 'b'], priority: -1_000_000 };
    const answer = await request(createApp(from)).post('/v2/rerank').set(headers).send(body).expect(200);
    return [from.reranker.requests[0]?.priority, answer.headers['x-winnow-priority']];
  };

  it('counts as 0 without scope admin, and the answer says so', async () => {
    const search = { authorization: 'Bearer search-key' };
    expect(await priorities(search, fakeDeps({ keys: keys() }))).toEqual([0, '0']);
    expect(await priorities({ 'x-forwarded-for': '10.0.0.9' })).toEqual([0, '0']);
  });

  it('counts with scope admin', async () => {
    const ops = { authorization: 'Bearer ops-key' };
    expect(await priorities(ops, fakeDeps({ keys: keys() }))).toEqual([-1_000_000, undefined]);
    expect(await priorities({})).toEqual([-1_000_000, undefined]);
  });

  it('leaves other priorities as they are', async () => {
    const from = fakeDeps({ keys: keys() });
    const app = createApp(from);
    for (const priority of [0, 7, undefined])
      await request(app)
        .post('/v2/rerank')
        .set('authorization', 'Bearer search-key')
        .send({ query: 'q', documents: ['a'], priority })
        .expect(200)
        .expect(({ headers }) => expect(headers).not.toHaveProperty('x-winnow-priority'));
    expect(from.reranker.requests.map(({ priority }) => priority)).toEqual([0, 7, undefined]);
  });
});

describe('the rate limit', () => {
  it('counts each key separately and answers in the dialect of the request', async () => {
    const app = createApp(fakeDeps({ keys: loadKeys(keyFile(FILE)), options: { requestsPerMinute: 3 } }));
    const post = (key: string, path = '/rerank') =>
      request(app).post(path).set('authorization', `Bearer ${key}`).send(BODY);
    for (let i = 0; i < 3; i++) await post('search-key').expect(200);
    const refused = await post('search-key');
    expect(refused.status).toBe(429);
    expect(refused.body).toMatchObject({ code: 'rate_limited', error_type: 'Overloaded' });
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    expect((await post('search-key', '/score')).body.error).toMatchObject({ code: 'rate_limited' });
    await post('ops-key').expect(200);
    await request(app).get('/health').expect(200);
  });

  it('counts addresses where there are no keys', async () => {
    const app = createApp(fakeDeps({ options: { requestsPerMinute: 1 } }));
    await request(app).post('/rerank').send(BODY).expect(200);
    await request(app).post('/rerank').set('x-forwarded-for', '10.0.0.9').send(BODY).expect(429);
    const trusting = createApp(fakeDeps({ options: { requestsPerMinute: 1, trustedProxies: 1 } }));
    await request(trusting).post('/rerank').send(BODY).expect(200);
    await request(trusting).post('/rerank').set('x-forwarded-for', '10.0.0.9').send(BODY).expect(200);
  });

  it('counts requests without a valid key by address before the key is looked at', async () => {
    const from = fakeDeps({ keys: loadKeys(keyFile(FILE)), options: { requestsPerMinute: 25, trustedProxies: 1 } });
    const app = createApp(from);
    const post = (address: string, key?: string) =>
      request(app)
        .post('/rerank')
        .set({ 'x-forwarded-for': address, ...(key ? { authorization: `Bearer ${key}` } : {}) })
        .send(BODY);
    await post('10.0.0.9', 'wrong').expect(401);
    await post('10.0.0.9', 'wrong').expect(401);
    for (let i = 0; i < 5; i++) await post('10.0.0.9').expect(401);
    const refused = await post('10.0.0.9', 'search-key');
    expect(refused.status).toBe(429);
    expect(refused.body.message).toMatch(/^expected at most 25 requests .* a minute for this address/);
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    await post('10.0.0.8', 'search-key').expect(200);
    await post('10.0.0.8', 'search-key').set('x-winnow-arm', 'b').expect(403);
    const lines = from.telemetry.lines.map(({ fields }) => [fields.status, fields.address]);
    expect(lines.slice(0, 2)).toEqual([
      [401, '10.0.0.9'],
      [401, '10.0.0.9'],
    ]);
    expect(lines.slice(-3)).toEqual([
      [429, '10.0.0.9'],
      [200, undefined],
      [403, '10.0.0.8'],
    ]);
  });

  it('counts passages by key, over all routes that score', async () => {
    const app = createApp(fakeDeps({ keys: loadKeys(keyFile(FILE)), options: { passagesPerMinute: 5 } }));
    const post = (key: string, path = '/rerank', body: object = BODY) =>
      request(app).post(path).set('authorization', `Bearer ${key}`).send(body);
    await post('search-key').expect(200);
    await post('search-key', '/v2/rerank', { query: 'q', documents: ['a', 'b'] }).expect(200);
    const refused = await post('search-key');
    expect(refused.status).toBe(429);
    expect(refused.body).toMatchObject({ code: 'rate_limited', error_type: 'Overloaded' });
    expect(refused.body.message).toContain('at most 5 passages a minute for this key');
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    await post('search-key', '/rerank', { query: 'q', texts: ['a'] }).expect(200);
    await post('ops-key').expect(200);
  });
});
