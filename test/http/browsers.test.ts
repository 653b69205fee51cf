import { connect, type Server } from 'node:net';
import { text as readText } from 'node:stream/consumers';
import request from 'supertest';
import { afterEach, describe, expect, it } from 'vitest';
import { createApp } from '../../src/http/app.ts';
import { hashKey } from '../../src/http/keys.ts';
import { isLoopback } from '../../src/http/peer.ts';
import { createServer } from '../../src/http/server.ts';
import { fakeDeps } from './fakes.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

describe('Strict-Transport-Security', () => {
  it('is sent only where a setting asks for it: it binds every service of the host name', async () => {
    for (const path of ['/', '/docs', '/rerank', '/nowhere'])
      expect((await request(createApp(fakeDeps())).get(path)).headers).not.toHaveProperty('strict-transport-security');
    const { headers } = await request(createApp(fakeDeps({ options: { hstsSeconds: 600 } }))).get('/');
    expect(headers['strict-transport-security']).toBe('max-age=600; includeSubDomains');
  });
});

const BODY = { query: 'q', texts: ['a', 'b'] };
const LOAD = '/v2/repository/models/tiny/load';

describe('loopback', () => {
  it.each(['127.0.0.1', '127.8.9.10', '::1', '::ffff:127.0.0.1', '::ffff:127.1.2.3'])('is %s', (address) => {
    expect(isLoopback(address)).toBe(true);
  });

  it.each(['10.0.0.1', '128.0.0.1', '::2', 'fe80::1', '::ffff:10.0.0.1', 'localhost', '127.1', '', undefined])(
    'is not %s',
    (address) => {
      expect(isLoopback(address)).toBe(false);
    },
  );
});

/** Listens at an address and sends one request with exactly these headers. */
async function exchange(
  from: ReturnType<typeof fakeDeps>,
  address: string,
  { method = 'POST', path = '/rerank', headers = {}, body = JSON.stringify(BODY) }: Partial<Wire> = {},
): Promise<{ status: number; body: Record<string, unknown> }> {
  const server = createServer(createApp(from), { headerTimeoutMs: 5000, bodyLimitBytes: 1_000_000 });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  const { port } = server.address() as { port: number };
  const socket = connect(port, address);
  const sent = {
    host: `localhost:${port}`,
    'content-type': 'application/json',
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
    ...headers,
  };
  const lines = Object.entries(sent).map(([name, value]) => `${name}: ${value.replaceAll('PORT', String(port))}\r\n`);
  socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`);
  const text = await readText(socket);
  const json = text.slice(text.indexOf('\r\n\r\n') + 4);
  return { status: Number(text.split(' ')[1]), body: JSON.parse(json || '{}') as Record<string, unknown> };
}

interface Wire {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

describe('without keys', () => {
  it.each(['127.0.0.1', '::1'])('admin routes answer clients on this machine: %s', async (address) => {
    const from = fakeDeps();
    expect((await exchange(from, address, { path: LOAD, body: '{}' })).status).toBe(200);
    expect(from.registry.calls).toEqual(['load tiny@']);
  });

  it.each([
    { 'x-forwarded-for': '127.0.0.1' },
    { forwarded: 'for=10.0.0.9' },
    { 'x-real-ip': '10.0.0.9' },
    { via: '1.1 edge' },
  ])('admin routes refuse what a proxy on this machine forwards: %o', async (headers) => {
    const from = fakeDeps();
    const answer = await exchange(from, '127.0.0.1', { path: LOAD, body: '{}', headers });
    expect(answer).toMatchObject({ status: 403, body: { code: 'not_local', error_type: 'Forbidden' } });
    expect(answer.body.message).toContain('auth.keysFile');
    expect(from.registry.calls).toEqual([]);
  });

  it('a trusted proxy says who the client is', async () => {
    const load = async (forwarded: string) => {
      const from = fakeDeps({ options: { trustedProxies: 1 } });
      const headers = { 'x-forwarded-for': forwarded };
      return (await exchange(from, '127.0.0.1', { path: LOAD, body: '{}', headers })).status;
    };
    expect(await load('127.0.0.1')).toBe(200);
    expect(await load('127.0.0.1, 10.0.0.9')).toBe(403);
    expect(await load('nonsense')).toBe(403);
  });

  it('every other route answers all, and no arm can be forced from elsewhere', async () => {
    const headers = { 'x-forwarded-for': '10.0.0.9' };
    expect((await exchange(fakeDeps(), '127.0.0.1', { headers })).status).toBe(200);
    const forced = await exchange(fakeDeps(), '127.0.0.1', { headers: { ...headers, 'x-winnow-arm': 'b' } });
    expect(forced).toMatchObject({ status: 403, body: { code: 'not_local' } });
  });
});

describe('requests that a page of another site makes a browser send', () => {
  const PATHS = ['/rerank', '/v2/repository/index', LOAD, '/v1/outcomes'];

  it.each([
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { origin: 'http://localhost:1' },
    { origin: 'https://localhost:PORT' },
    { origin: 'http://localhost:PORT.evil.example' },
    { origin: 'nonsense' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'cross-site', origin: 'http://localhost:PORT' },
    { 'sec-fetch-site': 'same-origin', origin: 'https://evil.example' },
  ])('are refused: %o', async (headers) => {
    for (const path of PATHS) {
      const from = fakeDeps();
      const answer = await exchange(from, '127.0.0.1', { path, headers });
      expect(answer, path).toMatchObject({ status: 403, body: { code: 'cross_site' } });
      expect([...from.registry.calls, ...from.reranker.requests]).toEqual([]);
    }
  });

  it('are refused with a key too', async () => {
    const keys = [{ name: 'ops', hash: hashKey('ops-key'), scopes: ['admin'] }] as const;
    const headers = { authorization: 'Bearer ops-key' };
    const send = (more: object) =>
      exchange(fakeDeps({ keys }), '127.0.0.1', { path: LOAD, body: '{}', headers: { ...headers, ...more } });
    expect((await send({ origin: 'https://evil.example' })).status).toBe(403);
    expect((await send({ host: 'evil.example' })).status).toBe(403);
    expect((await send({})).status).toBe(200);
  });

  it('are answered from the service itself and from listed origins', async () => {
    const post = (headers: Readonly<Record<string, string>>, corsOrigins: readonly string[] = []) =>
      exchange(fakeDeps({ options: { corsOrigins } }), '127.0.0.1', { headers }).then(({ status }) => status);
    expect(await post({ origin: 'http://localhost:PORT', 'sec-fetch-site': 'same-origin' })).toBe(200);
    expect(await post({ origin: 'http://localhost', host: 'localhost:80' })).toBe(200);
    expect(await post({ origin: 'https://localhost', host: 'localhost', 'sec-fetch-site': 'same-origin' })).toBe(200);
    expect(await post({ 'sec-fetch-site': 'none' })).toBe(200);
    const listed = { origin: 'https://app.example', 'sec-fetch-site': 'cross-site' };
    expect(await post(listed, ['https://app.example'])).toBe(200);
    expect(await post(listed, ['*'])).toBe(200);
    expect(await post(listed, ['https://other.example'])).toBe(403);
  });

  it('reach public routes', async () => {
    for (const path of ['/health', '/metrics', '/docs', '/openapi.json'])
      await request(createApp(fakeDeps())).get(path).set('origin', 'https://evil.example').expect(200);
  });
});

describe('the Host header on loopback', () => {
  const post = (host: string, hosts?: readonly string[]) =>
    exchange(fakeDeps(hosts ? { options: { hosts } } : {}), '127.0.0.1', { headers: { host } });

  it.each([
    'evil.example',
    'evil.example:8080',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '2130706433.evil.example',
    'evil.example.',
    'a..',
    '.a',
    '[evil]',
    '[evil.example]',
    'localhost@evil',
    'a\u3002b',
    ' ',
  ])('is refused: %s', async (host) => {
    expect(await post(host)).toMatchObject({ status: 403, body: { code: 'unknown_host' } });
  });

  it.each([
    'localhost',
    'LOCALHOST:1',
    'localhost.',
    '127.0.0.1:80',
    '10.1.2.3',
    '[::1]:8080',
    'x',
    'winnow:8080',
    'Re_rank-1.',
  ])('is accepted: %s', async (host) => {
    expect((await post(host)).status).toBe(200);
  });

  it('may be a name of server.hosts', async () => {
    expect((await post('Winnow.default.svc:8080', ['winnow.default.svc'])).status).toBe(200);
  });
});

describe('posts to admin routes', () => {
  const load = (headers: Readonly<Record<string, string>>, body = '') =>
    request(createApp(fakeDeps())).post(LOAD).unset('content-type').set(headers).send(body);

  it.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'])(
    'of type %s are 415, with and without a body',
    async (type) => {
      expect((await load({ 'content-type': type }, '{}')).status).toBe(415);
      expect((await load({ 'content-type': type })).status).toBe(415);
    },
  );

  it('without a type are 415 from a browser only', async () => {
    const wire = (headers: Readonly<Record<string, string>>) => {
      const from = fakeDeps();
      return exchange(from, '127.0.0.1', { path: LOAD, body: '{}', headers: { ...headers, 'content-type': '' } });
    };
    expect((await wire({ 'sec-fetch-site': 'same-origin' })).status).toBe(415);
    await request(createApp(fakeDeps())).post(LOAD).expect(200);
    await request(createApp(fakeDeps())).post(LOAD).set('content-type', 'application/json').expect(200);
  });
});
