import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Router } from 'express';
import request from 'supertest';
import { describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import { createApp } from '../../src/http/app.ts';
import { ANSWER_HEADERS, REQUEST_HEADERS } from '../../src/http/openapi/headers.ts';
import { createServer } from '../../src/http/server.ts';
import { fakeDeps } from './fakes.ts';

const BODY = { query: 'q', texts: ['first passage', 'second passage'] };

const post = (deps = fakeDeps(), headers: Record<string, string> = {}) =>
  request(createApp(deps)).post('/rerank').set(headers).send(BODY);

describe('request ids', () => {
  it('are returned unchanged', async () => {
    const deps = fakeDeps();
    const { headers } = await post(deps, { 'x-request-id': 'abc-123' });
    expect(headers['x-request-id']).toBe('abc-123');
    expect(deps.reranker.requests[0]?.requestId).toBe('abc-123');
    expect(deps.telemetry.events[0]?.requestId).toBe('abc-123');
  });

  it.each(['', 'a b', 'x'.repeat(129), '<script>', '"'])('are replaced if unsafe: %j', async (id) => {
    const { headers } = await post(fakeDeps(), id ? { 'x-request-id': id } : {});
    expect(headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
  });
});

describe('traces', () => {
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736';

  it('continue that of the caller', async () => {
    const { headers } = await post(fakeDeps(), { traceparent: `00-${trace}-00f067aa0ba902b7-01`, tracestate: 'a=1' });
    expect(headers.traceparent).toMatch(new RegExp(`^00-${trace}-[0-9a-f]{16}-01$`));
    expect(headers.traceparent).not.toContain('00f067aa0ba902b7');
    expect(headers.tracestate).toBe('a=1');
  });

  it('begin if the caller has none, or a malformed one', async () => {
    for (const traceparent of ['', 'nonsense', `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`]) {
      const { headers } = await post(fakeDeps(), traceparent ? { traceparent } : {});
      expect(headers.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/);
    }
  });

  /** A server whose spans are recorded. */
  function watched() {
    const deps = fakeDeps();
    const stages: string[] = [];
    const ended: unknown[] = [];
    const names: string[] = [];
    const { startRequest } = deps.telemetry.tracing;
    const tracing = {
      startRequest: (...args: Parameters<typeof startRequest>) => ({
        ...startRequest(...args),
        stage(name: string) {
          stages.push(name);
          return this;
        },
        rename: (name: string) => void names.push(name),
        end: (attributes: unknown) => void ended.push(attributes),
      }),
    };
    return { deps: { ...deps, telemetry: { ...deps.telemetry, tracing } }, stages, ended, names };
  }

  it('contain the stages of a request', async () => {
    const { deps, stages, ended, names } = watched();
    await post(deps);
    expect(stages).toEqual(['tokenize', 'queue', 'infer']);
    expect(names).toEqual(['POST /rerank']);
    expect(ended).toEqual([expect.objectContaining({ 'http.route': '/rerank', 'winnow.model': 'tiny' })]);
  });

  it('contain the stages of a cascade, and the wait for a model that is loaded', async () => {
    const { deps, stages } = watched();
    deps.reranker.after = (answer) => {
      const run = { model: 'tiny', version: '1', passages: 2, timings: answer.timings };
      return {
        ...answer,
        stages: [
          { ...run, leaseMs: 0 },
          { ...run, leaseMs: 80 },
        ],
      };
    };
    await post(deps);
    const steps = ['tokenize', 'queue', 'infer'];
    expect(stages).toEqual(['cascade stage', ...steps, 'cascade stage', 'load', ...steps]);
  });

  it('have names that clients do not choose, and none for probes', async () => {
    const { deps, names } = watched();
    const app = createApp(deps);
    await request(app).get('/any/path/at/all');
    for (const path of ['/health', '/health/live', '/HEALTH/ready/', '/ping/', '/metrics', '/', '/v2/health/ready'])
      await request(app).get(path);
    expect(names).toEqual(['GET']);
  });

  it('and log lines name experiment, arm and version', async () => {
    const { deps, ended } = watched();
    const experiment = { name: 'losses', arm: 'b' };
    deps.reranker.after = (answer) => ({ ...answer, experiment });
    await post(deps);
    expect(ended).toMatchObject([
      {
        'winnow.model': 'tiny',
        'winnow.version': '1',
        'winnow.experiment': 'losses',
        'winnow.arm': 'b',
        'feature_flag.key': 'losses',
        'feature_flag.result.variant': 'b',
      },
    ]);
    expect(deps.telemetry.lines.at(-1)!.fields).toMatchObject({ model: 'tiny', version: '1', experiment });
  });
});

describe('telemetry', () => {
  it('receives every request, without text', async () => {
    const deps = fakeDeps();
    const app = createApp(deps);
    await request(app)
      .post('/v2/rerank')
      .set('x-winnow-lane', 'batch')
      .send({ query: 'secret', documents: ['hidden'] });
    await request(app).get('/health');
    await request(app).get('/nowhere');
    expect(deps.telemetry.events).toMatchObject([
      {
        method: 'POST',
        route: '/v2/rerank',
        dialect: 'cohere-v2',
        lane: 'batch',
        status: 200,
        model: 'tiny',
        version: '1',
        passages: 1,
        tokens: 10,
        truncated: 0,
        timings: { tokenizeMs: 1.4 },
        caller: 'anonymous',
      },
      { route: '/health', status: 200 },
      { route: 'unmatched', status: 404, code: 'not_found' },
    ]);
    // Successful probes are not logged.
    expect(deps.telemetry.lines.map(({ fields }) => fields.route)).toEqual(['/v2/rerank', 'unmatched']);
    expect(JSON.stringify([deps.telemetry.lines, deps.telemetry.events])).not.toMatch(/secret|hidden/);
  });
});

describe('a client that disconnects', () => {
  it('aborts its request', async () => {
    const deps = fakeDeps();
    const asked = Promise.withResolvers<AbortSignal>();
    const left = Promise.withResolvers<void>();
    deps.reranker.before = ({ signal }) => {
      asked.resolve(signal!);
      return new Promise((_resolve, reject) => {
        signal?.addEventListener('abort', () => {
          left.resolve();
          reject(new WinnowError('client_closed'));
        });
      });
    };
    const server = createServer(createApp(deps), { headerTimeoutMs: 5000, bodyLimitBytes: 1e6 }).listen(0);
    await once(server, 'listening');
    const client = httpRequest({
      port: (server.address() as AddressInfo).port,
      path: '/rerank',
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    });
    client.on('error', () => {});
    client.end(JSON.stringify(BODY));
    const signal = await asked.promise;
    expect(signal.aborted).toBe(false);
    client.destroy();
    await left.promise;
    await new Promise((resolve) => server.close(resolve));
    expect(deps.telemetry.events).toMatchObject([{ status: 499, code: 'client_closed' }]);
  });
});

describe('browsers', () => {
  it('may not call from other origins by default', async () => {
    const { headers } = await post(fakeDeps(), { origin: 'https://a.example' });
    expect(headers).not.toHaveProperty('access-control-allow-origin');
  });

  it('from listed origins may call and read', async () => {
    const deps = fakeDeps({ options: { corsOrigins: ['https://a.example'] } });
    const { headers } = await post(deps, { origin: 'https://a.example' });
    expect(headers['access-control-allow-origin']).toBe('https://a.example');
    expect(headers.vary).toMatch(/origin/i);
    expect(headers['access-control-expose-headers']).toContain('x-winnow-model');
    expect((await post(deps, { origin: 'https://b.example' })).headers).not.toHaveProperty(
      'access-control-allow-origin',
    );
  });

  /** The names of a header that lists names. */
  const namesOf = (value: unknown) => String(value).split(/, */);
  /** Headers of answers that every browser lets a page read (the CORS-safelisted ones), and those of the transport and of its rules. */
  const UNLISTED =
    /^(cache-control|content-(language|length|type)|expires|last-modified|pragma|access-control-.*|vary|connection|date|keep-alive|transfer-encoding|strict-transport-security|content-security-policy|cross-origin-.*|origin-agent-cluster|referrer-policy|x-(content-type-options|dns-prefetch-control|download-options|frame-options|permitted-cross-domain-policies|xss-protection))$/;

  it('may read every header that an answer carries, and every one that is described', async () => {
    const deps = fakeDeps({ options: { corsOrigins: ['*'], requestsPerMinute: 100 } });
    deps.reranker.after = (answer) => ({ ...answer, queryCut: 3, experiment: { name: 'e', arm: 'a' } });
    const origin = 'https://a.example';
    const send = () => request(createApp(deps)).post('/rerank').set({ origin, tracestate: 'v=1' });
    const answers = await Promise.all([
      send()
        .set('traceparent', `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`)
        .send({ ...BODY, texts: ['a\u0000', 'b'], priority: -1, min_score: 0.1, unknown: 1 }),
      send().send({}),
      request(createApp(deps)).get('/rerank').set({ origin }),
    ]);
    const carried = answers.flatMap(({ headers }) => Object.keys(headers)).filter((name) => !UNLISTED.test(name));
    expect(carried).toEqual(
      expect.arrayContaining([
        'x-winnow-query-truncated',
        'x-winnow-repaired',
        'x-winnow-experiment',
        'x-compute-time',
        'allow',
        'ratelimit',
      ]),
    );
    for (const { headers } of answers) {
      const exposed = namesOf(headers['access-control-expose-headers']);
      expect(exposed).toEqual(expect.arrayContaining([...carried, ...Object.keys(ANSWER_HEADERS)]));
      expect(new Set(exposed).size).toBe(exposed.length);
    }
  });

  it('may send every described header where a preflight names none', async () => {
    const { headers } = await request(createApp(fakeDeps({ options: { corsOrigins: ['*'] } })))
      .options('/rerank')
      .set({ origin: 'https://a.example', 'access-control-request-method': 'POST' });
    expect(namesOf(headers['access-control-allow-headers'])).toEqual(
      expect.arrayContaining(Object.keys(REQUEST_HEADERS)),
    );
  });

  it('get an answer to preflight requests', async () => {
    const deps = fakeDeps({ options: { corsOrigins: ['*'] } });
    const answer = await request(createApp(deps))
      .options('/rerank')
      .set({ origin: 'https://a.example', 'access-control-request-method': 'POST' });
    expect(answer.status).toBe(204);
    expect(answer.headers['access-control-allow-methods']).toContain('POST');
    expect(answer.headers['access-control-allow-headers']).toContain('authorization');
  });

  it('get restrictive policies', async () => {
    const { headers } = await post();
    expect(headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'x-frame-options': 'SAMEORIGIN' });
    expect(headers['content-security-policy']).toContain("default-src 'self'");
    expect(headers).not.toHaveProperty('x-powered-by');
  });
});

describe('lanes and deadlines', () => {
  it('come from headers, which override the body', async () => {
    const deps = fakeDeps();
    const headers = { 'x-winnow-lane': 'batch', 'x-winnow-deadline-ms': '250' };
    await request(createApp(deps))
      .post('/rerank')
      .set(headers)
      .send({ ...BODY, timeout_ms: 9000 });
    expect(deps.reranker.requests[0]).toMatchObject({ lane: 'batch', deadlineMs: 250, clientDeadline: true });
  });

  it('have defaults', async () => {
    const deps = fakeDeps({ options: { requestTimeoutMs: 4321 } });
    await post(deps);
    expect(deps.reranker.requests[0]).toMatchObject({ lane: 'interactive', deadlineMs: 4321, clientDeadline: false });
  });
});

describe('what experiments see', () => {
  it('is the subject of the request', async () => {
    const deps = fakeDeps();
    const headers = {
      'x-winnow-unit': 'u',
      'x-user-id': 'alice',
      'x-session-id': 's',
      cookie: 'secret=1',
      'x-shop': 'de',
    };
    await request(createApp(deps))
      .post('/rerank')
      .set(headers)
      .send({ ...BODY, user: 'bob' });
    const { subject } = deps.reranker.requests[0]!;
    expect(subject).toMatchObject({
      unit: 'u',
      user: 'alice',
      session: 's',
      key: 'anonymous',
      headers: { 'x-shop': 'de' },
    });
    expect(subject?.headers).not.toHaveProperty('cookie');
  });
});

describe('shutting down', () => {
  it('closes connections with their answers', async () => {
    const deps = fakeDeps({
      readiness: { probe: async () => ({ ready: false, reason: 'shutting down' }), draining: () => true },
    });
    const app = createApp(deps);
    const answer = await request(app).post('/rerank').send(BODY);
    expect(answer.status).toBe(200);
    expect(answer.headers.connection).toBe('close');
    const ready = await request(app).get('/health/ready');
    expect(ready.status).toBe(503);
    expect(ready.body).toEqual({ status: 'not ready', reason: 'shutting down' });
    await request(app).get('/health/live').expect(200);
  });
});

describe('a shutdown that begins while a request is answered', () => {
  it('closes its connection too', async () => {
    let draining = false;
    const deps = fakeDeps({ readiness: { probe: async () => ({ ready: true }), draining: () => draining } });
    deps.reranker.before = () => {
      draining = true;
    };
    // Without an agent of its own supertest asks for a connection that closes anyway.
    const server = createServer(createApp(deps), { headerTimeoutMs: 5000, bodyLimitBytes: 1e6 }).listen(0);
    await once(server, 'listening');
    const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/rerank`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(BODY),
    });
    expect(answer.headers.get('connection')).toBe('close');
    await answer.text();
    await new Promise((resolve) => server.close(resolve));
  });
});

describe('extensions', () => {
  it('have the same keys and the same form of errors', async () => {
    const router = Router();
    router.post('/echo', (req, res) => void res.json(req.body));
    router.get('/broken', () => {
      throw new WinnowError('unknown_experiment', { known: 'none', got: 'x' });
    });
    const deps = fakeDeps({ extensions: [{ path: '/v1/experiments', access: 'admin', router }] });
    const app = createApp(deps);
    expect((await request(app).post('/v1/experiments/echo').send({ a: 1 })).body).toEqual({ a: 1 });
    const broken = await request(app).get('/v1/experiments/broken');
    expect(broken.status).toBe(404);
    expect(broken.body.code).toBe('unknown_experiment');
    await request(app).get('/v1/experiments/nowhere').expect(404);
    const hash = Buffer.alloc(32);
    const closed = createApp(fakeDeps({ ...deps, keys: [{ name: 'a', hash, scopes: ['rerank'] }] }));
    await request(closed).post('/v1/experiments/echo').send({}).expect(401);
  });
});
