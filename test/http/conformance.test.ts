import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import express, { type ErrorRequestHandler, type Express } from 'express';
import * as OpenApiValidator from 'express-openapi-validator';
import request from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ErrorCode, WinnowError } from '../../src/errors.ts';
import { createApp } from '../../src/http/app.ts';
import { OPERATIONS } from '../../src/http/openapi/operations.ts';
import { type FakeDeps, fakeDeps } from './fakes.ts';

const SPEC = join(import.meta.dirname, '..', '..', 'openapi.yaml');

const servers: Server[] = [];

async function listen(app: Express): Promise<Server> {
  const server = app.listen(0);
  servers.push(server);
  await once(server, 'listening');
  return server;
}

afterAll(() => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
});

const refuse: ErrorRequestHandler = (error: Error & { errors?: unknown }, _req, res, _next) => {
  res
    .status(599)
    .type('text')
    .send(`${error.message} ${JSON.stringify(error.errors)}`);
};

/**
 * Starts the app behind a validator made from openapi.yaml, which checks every answer, and every request unless `requests` is false. What the
 * file does not allow is answered with 599 and the reason.
 */
async function validated(inner: Express, requests: boolean): Promise<Server> {
  const { port } = (await listen(inner)).address() as AddressInfo;
  const outer = express();
  outer.use(express.json({ strict: false }));
  outer.use(
    OpenApiValidator.middleware({
      apiSpec: SPEC,
      validateRequests: requests,
      validateResponses: true,
      validateSecurity: false,
    }),
  );
  outer.use(async (req, res) => {
    const answer = await fetch(`http://127.0.0.1:${port}${req.originalUrl}`, {
      method: req.method,
      headers: { 'content-type': 'application/json' },
      ...(req.body === undefined ? {} : { body: JSON.stringify(req.body) }),
    });
    const type = answer.headers.get('content-type')?.split(';')[0] ?? 'text/plain';
    const text = await answer.text();
    res.status(answer.status).type(type);
    if (answer.status === 204) res.end();
    else if (type === 'application/json') res.json(JSON.parse(text));
    else res.send(text);
  });
  outer.use(refuse);
  return await listen(outer);
}

const QUERY = 'what is a panda?';
const PASSAGES = ['a bear', 'x'.repeat(3000), 'a city'];

interface Case {
  readonly key: string;
  readonly path?: string;
  readonly body?: object;
  readonly status?: number;
}

const tei = { query: QUERY, texts: PASSAGES };
const documents = { query: QUERY, documents: PASSAGES };
const voyage = { ...documents, top_k: 2, return_documents: true };
const weaviate = { ...documents, property: 'body' };
const nim = { query: { text: QUERY }, passages: PASSAGES.map((text) => ({ text })) };
const rich = {
  model: 'tiny',
  query: QUERY,
  documents: PASSAGES.map((text, page) => ({ text, page })),
  top_n: 2,
  return_documents: true,
  rank_fields: ['text'],
  priority: 1,
  max_tokens_per_doc: 64,
  long_passages: 'mean',
  truncation: 'only_second',
  user: null,
};
const infinity = { ...documents, raw_scores: false, return_documents: true };
const mixedbread = { query: QUERY, input: ['a', { text: 'b' }], top_k: 2, return_input: true };
const words = { ...documents, return_documents: 'True', top_n: '2', truncation: 'true', use_activation: 'FALSE' };
const parts = [{ type: 'text', text: 'a' }];
const content = { query: parts, documents: [{ content: parts }, parts, { content: 'b' }], return_documents: true };
const pairs = { text_1: QUERY, text_2: PASSAGES };
const predictions = { inputs: [[QUERY, 'a'], { text: QUERY, text_pair: 'b' }], raw_scores: true };
const tensors = {
  inputs: [
    { name: 'query', shape: [1], datatype: 'BYTES', data: [QUERY] },
    { name: 'passages', shape: [3], datatype: 'BYTES', data: PASSAGES },
  ],
};

const TRIAL = {
  mode: 'split',
  arms: [
    { name: 'a', model: 'tiny' },
    { name: 'b', model: 'other' },
  ],
  control: 'a',
  metrics: [{ name: 'clicks' }],
};

const GOOD: readonly Case[] = [
  ...['/rerank', '/v1/rerank', '/', '/invocations'].flatMap((path) =>
    [tei, documents, rich, voyage, weaviate, nim].map((body) => ({ key: `POST ${path}`, body })),
  ),
  ...[tei, documents, rich, weaviate].map((body) => ({ key: 'POST /v2/rerank', body })),
  ...['/infinity/rerank', '/infinity/v1/rerank'].flatMap((path) =>
    [documents, rich, content].map((body) => ({ key: `POST ${path}`, body })),
  ),
  ...['/rerank', '/v1/rerank', '/v2/rerank', '/reranking', '/v1/reranking', '/', '/invocations'].flatMap((path) =>
    [infinity, mixedbread, words, content].map((body) => ({ key: `POST ${path}`, body })),
  ),
  ...['/reranks', '/v1/reranks', '/compatible-api/v1/reranks'].map((path) => ({
    key: `POST ${path}`,
    body: documents,
  })),
  ...['/ranking', '/v1', '/v1/retrieval/nvidia/reranking'].map((path) => ({ key: `POST ${path}`, body: nim })),
  { key: 'POST /v1/retrieval/nvidia/:hosted/reranking', path: '/v1/retrieval/nvidia/tiny/reranking', body: nim },
  { key: 'POST /v1/retrieval/*hosted/reranking', path: '/v1/retrieval/tiny/reranking', body: nim },
  ...['/predict', '/', '/invocations', '/rerank'].flatMap((path) =>
    [predictions, { inputs: [QUERY, 'a'] }].map((body) => ({ key: `POST ${path}`, body })),
  ),
  ...['/reranking', '/v1/reranking'].flatMap((path) => [tei, rich].map((body) => ({ key: `POST ${path}`, body }))),
  ...[documents, voyage, infinity, mixedbread, weaviate, nim, tei].map((body) => ({
    key: 'POST /rerank',
    body: { ...body, min_score: 0.5 },
  })),
  { key: 'POST /v1/passages', body: { documents: ['a', { text: 'b' }, 'x'.repeat(30)], top_n: 3 } },
  { key: 'GET /v1/passages' },
  { key: 'DELETE /v1/passages', path: '/v1/passages?model=tiny' },
  { key: 'DELETE /v1/passages', body: { model: 'tiny' } },
  { key: 'POST /score', body: { ...pairs, min_score: '0.5' } },
  {
    key: 'POST /v2/models/:model/infer',
    path: '/v2/models/tiny/infer',
    body: { ...tensors, parameters: { min_score: 0.5 } },
  },
  { key: 'POST /rerank', body: { ...tei, return_text: true, truncation_direction: 'Left', raw_scores: true } },
  { key: 'POST /rerank', body: { ...documents, cascade: [{ model: 'tiny', keep: 2 }, { model: 'tiny' }] } },
  { key: 'POST /v1/ranking', body: nim },
  { key: 'POST /score', body: pairs },
  { key: 'POST /v1/score', body: { queries: [QUERY], documents: PASSAGES, use_activation: false } },
  { key: 'POST /v2/models/:model/infer', path: '/v2/models/tiny/infer', body: tensors },
  { key: 'POST /v2/models/:model/versions/:version/infer', path: '/v2/models/tiny/versions/1/infer', body: tensors },
  { key: 'POST /tokenize', body: { inputs: QUERY } },
  { key: 'POST /tokenize', body: { inputs: PASSAGES, add_special_tokens: false, prompt_name: null, model: 'tiny' } },
  { key: 'GET /v1/models' },
  { key: 'GET /v1/models/*model', path: '/v1/models/tiny' },
  { key: 'PUT /v1/models/:model/labels/:label', path: '/v1/models/tiny/labels/canary', body: { version: '2' } },
  { key: 'GET /v2/models/stats' },
  { key: 'GET /v2/models/:model/stats', path: '/v2/models/tiny/stats' },
  { key: 'GET /v2/models/:model/versions/:version/stats', path: '/v2/models/tiny/versions/1/stats' },
  { key: 'GET /v2/models/:model/config', path: '/v2/models/tiny/config' },
  { key: 'GET /v2/models/:model/versions/:version/config', path: '/v2/models/tiny/versions/2/config' },
  { key: 'GET /v2/models/:model', path: '/v2/models/tiny' },
  { key: 'GET /v2/models/:model/ready', path: '/v2/models/tiny/ready' },
  { key: 'GET /v2/models/:model/ready', path: '/v2/models/other/ready', status: 503 },
  { key: 'GET /v2/models/:model/versions/:version', path: '/v2/models/tiny/versions/1' },
  { key: 'GET /v2/models/:model/versions/:version/ready', path: '/v2/models/tiny/versions/1/ready' },
  { key: 'POST /v2/repository/index' },
  { key: 'POST /v2/repository/index', body: { ready: true } },
  {
    key: 'POST /v2/repository/models/:model/load',
    path: '/v2/repository/models/tiny/load',
    body: { parameters: { version: '1' } },
  },
  { key: 'POST /v2/repository/models/:model/unload', path: '/v2/repository/models/tiny/unload' },
  { key: 'PUT /v1/experiments/:experiment', path: '/v1/experiments/trial', body: TRIAL, status: 201 },
  { key: 'PUT /v1/experiments/:experiment', path: '/v1/experiments/trial', body: { ...TRIAL, coverage: 0.5 } },
  { key: 'GET /v1/experiments' },
  { key: 'GET /v1/experiments/:experiment', path: '/v1/experiments/trial' },
  { key: 'GET /v1/experiments/:experiment/report', path: '/v1/experiments/trial/report' },
  { key: 'GET /v1/experiments/:experiment/series', path: '/v1/experiments/trial/series?points=5' },
  { key: 'GET /v1/experiments/:experiment/audits', path: '/v1/experiments/trial/audits' },
  { key: 'POST /v1/outcomes', body: [{ request_id: 'nobody', metric: 'clicks', item: 0 }] },
  { key: 'DELETE /v1/experiments/:experiment', path: '/v1/experiments/trial', status: 204 },
  ...[
    '/info',
    '/meta',
    '/v2',
    '/',
    '/health',
    '/ping',
    '/health/live',
    '/health/ready',
    '/.well-known/ready',
    '/v2/health/live',
    '/v2/health/ready',
    '/metrics',
    '/openapi.yaml',
    '/openapi.json',
    '/docs',
  ].map((path) => ({ key: `GET ${path}` })),
  { key: 'GET /.well-known/live', status: 204 },
];

const operationOf = (key: string) => key.split(' ') as ['GET' | 'POST' | 'PUT' | 'DELETE', string];

function send(app: Server, { key, path, body }: Case) {
  const [method, pattern] = operationOf(key);
  const sent = request(app)
    [method.toLowerCase() as 'get' | 'post' | 'put' | 'delete'](path ?? pattern)
    .buffer(true);
  return body === undefined ? sent : sent.send(body);
}

const named = (cases: readonly Case[]) =>
  cases.map((one) => [`${one.path ?? one.key} ${JSON.stringify(one.body ?? '').slice(0, 80)}`, one] as const);

describe('openapi.yaml allows real requests and their real answers', () => {
  const deps: FakeDeps = fakeDeps();
  let app: Server;
  beforeAll(async () => {
    app = await validated(createApp(deps), true);
  });

  it.each(named(GOOD))('%s', async (_name, one) => {
    const answer = await send(app, one);
    expect(answer.status, answer.text).toBe(one.status ?? 200);
  });

  it('for every operation', () => {
    expect(new Set(GOOD.map(({ key }) => key))).toEqual(new Set(Object.keys(OPERATIONS)));
  });

  it('while it refuses other answers', async () => {
    const wrong = express();
    wrong.use((_req, res) => void res.json([{ index: 'first', score: 1 }]));
    expect((await send(await validated(wrong, true), { key: 'POST /rerank', body: tei })).status).toBe(599);
  });

  it('and other requests', async () => {
    expect((await send(app, { key: 'POST /rerank', body: { query: 7, texts: ['a'] } })).status).toBe(599);
    expect((await send(app, { key: 'POST /v1/ranking', body: { query: QUERY, passages: [] } })).status).toBe(599);
  });
});

describe('openapi.yaml allows real errors', () => {
  const deps = fakeDeps();
  let app: Server;
  beforeAll(async () => {
    app = await validated(createApp(deps), false);
  });

  const SAMPLES: Readonly<Record<string, object>> = {
    '/rerank': tei,
    '/v1/rerank': documents,
    '/v2/rerank': documents,
    '/reranking': documents,
    '/v1/reranking': documents,
    '/': tei,
    '/invocations': tei,
    '/infinity/rerank': documents,
    '/infinity/v1/rerank': documents,
    '/v1/ranking': nim,
    '/ranking': nim,
    '/v1': nim,
    '/v1/retrieval/nvidia/reranking': nim,
    '/v1/retrieval/*hosted/reranking': nim,
    '/v1/retrieval/nvidia/:hosted/reranking': nim,
    '/reranks': documents,
    '/v1/reranks': documents,
    '/compatible-api/v1/reranks': documents,
    '/predict': predictions,
    '/score': pairs,
    '/v1/score': pairs,
    '/v2/models/:model/infer': tensors,
    '/v2/models/:model/versions/:version/infer': tensors,
  };
  const scoring = Object.entries(OPERATIONS).filter(([, { dialects }]) => dialects);

  const thrown = (codes: readonly ErrorCode[]) =>
    codes.filter((code) => !['unauthorized', 'forbidden', 'rate_limited', 'unsupported_media_type'].includes(code));

  it.each(scoring.map(([key, { errors }]) => [key, errors] as const))(
    '%s: every code it lists',
    async (key, errors) => {
      const [, pattern] = operationOf(key);
      for (const code of thrown(errors)) {
        deps.reranker.before = () => {
          throw new WinnowError(code, { seconds: 1 });
        };
        const path = pattern.replace(/[:*](model|hosted)/, 'tiny').replace(':version', '1');
        const answer = await send(app, { key, path, body: SAMPLES[pattern]! });
        expect(answer.body.code, answer.text).toBe(code);
      }
    },
  );

  it.each([
    { key: 'POST /rerank', body: {} },
    { key: 'POST /rerank', body: { query: QUERY, texts: [] } },
    { key: 'POST /score', body: { text_1: 'a' } },
    { key: 'GET /v1/models/*model', path: '/v1/models/none' },
    { key: 'PUT /v1/models/:model/labels/:label', path: '/v1/models/tiny/labels/x', body: {} },
    { key: 'POST /v2/repository/models/:model/load', path: '/v2/repository/models/none/load' },
    { key: 'GET /v2/models/:model/versions/:version', path: '/v2/models/tiny/versions/9' },
    { key: 'GET /v1/experiments/:experiment', path: '/v1/experiments/none' },
    { key: 'GET /v1/experiments/:experiment/report', path: '/v1/experiments/none/report' },
    { key: 'DELETE /v1/experiments/:experiment', path: '/v1/experiments/none' },
    { key: 'PUT /v1/experiments/:experiment', path: '/v1/experiments/x', body: { arms: 3 } },
    { key: 'POST /v1/outcomes', body: { request_id: 'nobody', metric: 'clicks' } },
    { key: 'POST /v1/outcomes', body: { metric: 'clicks' } },
  ])('%o', async (one) => {
    const answer = await send(app, one);
    expect(answer.status, answer.text).toBeLessThan(500);
    expect(answer.body.code).toBeTypeOf('string');
  });
});
