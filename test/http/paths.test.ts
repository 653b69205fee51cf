import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import request from 'supertest';
import { afterEach, describe, expect, it } from 'vitest';
import { createApp } from '../../src/http/app.ts';
import { plainAddress } from '../../src/http/peer.ts';
import { createServer } from '../../src/http/server.ts';
import { boundTo } from '../../src/main/bound-to.ts';
import { fakeDeps } from './fakes.ts';

const BODY = { query: 'q', documents: ['a', 'b'] };
const appWith = (options: Parameters<typeof fakeDeps>[0] = {}) => createApp(fakeDeps(options));

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  }
});

describe('paths as clients join them', () => {
  it.each(['/v1/rerank', '//v1/rerank', '/v1//rerank', '/v1/rerank/', '///v1///rerank//', '/v1/rerank?user=a//b'])(
    'serves %s',
    async (path) => {
      const answer = await request(appWith()).post(path).send(BODY);
      expect(answer.status).toBe(200);
      expect(answer.body.results).toHaveLength(2);
    },
  );

  it.each([
    ['/winnow', '/winnow/v1/rerank', 200],
    ['/winnow', '/winnow//v1/rerank', 200],
    ['/winnow', '//winnow/v1/rerank', 200],
    ['/a/b', '/a/b/v1/rerank', 200],
    // Probes reach the pod without the prefix.
    ['/winnow', '/v1/rerank', 200],
    ['/winnow', '/winnowv1/rerank', 404],
    ['/winnow', '/winnow/winnow/v1/rerank', 404],
    ['', '/winnow/v1/rerank', 404],
  ])('under %j serves %s with %i', async (basePath, path, status) => {
    const answer = await request(appWith({ options: { basePath } }))
      .post(path)
      .send(BODY);
    expect(answer.status).toBe(status);
  });

  it.each(['/predict-it', '/v1/reranks-it', '/v3/rerank', '/v1/embeddings'])(
    'names the right ones for %s',
    async (path) => {
      const answer = await request(appWith()).post(path).send(BODY);
      expect(answer.status).toBe(404);
      expect(answer.body.message).toContain(`got POST ${path}; passages are scored by POST `);
      expect(answer.body.message).toMatch(/\/rerank, .*\/v1\/rerank, .*\/v2\/rerank/);
    },
  );

  it.each(['/rerank', '/v1/rerank', '/v2/rerank', '/v1/ranking', '/score', '/v2/models/tiny/infer'])(
    'names POST for GET %s',
    async (path) => {
      const answer = await request(appWith()).get(path);
      expect(answer.status).toBe(405);
      expect(answer.headers.allow).toBe('POST');
      expect(answer.body.message).toContain('expected POST');
    },
  );
});

describe('preflights', () => {
  const preflight = (asked: string, corsOrigins: string[] = ['https://app.example']) =>
    request(appWith({ options: { corsOrigins } }))
      .options('/v2/rerank')
      .set({
        origin: 'https://app.example',
        'access-control-request-method': 'POST',
        'access-control-request-headers': asked,
      });

  it('allow an allowed origin every header it asks for', async () => {
    const asked =
      'authorization,content-type, x-client-name,x-fern-language,x-fern-sdk-name,x-fern-sdk-version,x-fern-runtime';
    for (const origins of [['https://app.example'], ['*']]) {
      const answer = await preflight(asked, origins);
      expect(answer.status).toBe(204);
      expect(answer.headers['access-control-allow-headers']).toBe(asked);
      expect(answer.headers.vary).toContain('access-control-request-headers');
    }
  });

  it.each(['a b', 'a,,b', `x,${'y'.repeat(5000)}`])(
    'answer what is no list of names with the known headers: %.10s',
    async (asked) => {
      const answer = await preflight(asked);
      expect(answer.headers['access-control-allow-headers']).toMatch(/^authorization, content-type/);
    },
  );

  it('allow other origins nothing', async () => {
    const answer = await preflight('x-client-name', ['https://other.example']);
    expect(answer.headers['access-control-allow-headers']).toBeUndefined();
  });
});

describe('server.autoTruncate', () => {
  it.each([
    [true, undefined, true],
    [true, false, false],
    [false, undefined, false],
    [false, true, true],
    ['always', false, true],
    ['always', undefined, true],
  ] as const)('%j and a request with %j', async (autoTruncate, truncation, truncates) => {
    const deps = fakeDeps({ options: { autoTruncate } });
    await request(createApp(deps))
      .post('/v1/rerank')
      .send({ ...BODY, ...(truncation === undefined ? {} : { truncation }) });
    expect(deps.reranker.requests.at(-1)?.truncate).toBe(truncates);
  });
});

describe('connections', () => {
  async function listening(
    host: string,
    keepAliveMs?: number,
  ): Promise<{ readonly server: Server; readonly port: number }> {
    const limits = { headerTimeoutMs: 5000, bodyLimitBytes: 1_000_000, ...(keepAliveMs ? { keepAliveMs } : {}) };
    const server = createServer(appWith(), limits);
    servers.push(server);
    server.listen({ port: 0, ...boundTo(host) });
    await once(server, 'listening');
    return { server, port: (server.address() as AddressInfo).port };
  }

  it('rest for as long as is set, and say so', async () => {
    for (const [ms, seconds] of [
      [undefined, 65],
      [620_000, 620],
    ] as const) {
      const { port } = await listening('127.0.0.1', ms);
      const answer = await fetch(`http://127.0.0.1:${port}/health/live`);
      expect(answer.headers.get('keep-alive')).toBe(`timeout=${seconds}`);
      await answer.text();
    }
  });

  it('are taken from both families by default', async () => {
    const { server, port } = await listening('::');
    const { family } = server.address() as AddressInfo;
    for (const host of family === 'IPv6' ? ['127.0.0.1', '[::1]'] : ['127.0.0.1'])
      expect((await fetch(`http://${host}:${port}/health/live`)).status).toBe(200);
  });

  it.each([
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::FFFF:127.0.0.1', '127.0.0.1'],
    ['10.0.0.1', '10.0.0.1'],
    ['2001:db8::1', '2001:db8::1'],
    ['::ffff:1', '::ffff:1'],
    ['', ''],
  ])('name %s as %s', (address, plain) => {
    expect(plainAddress(address)).toBe(plain);
  });
});
