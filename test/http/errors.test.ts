import request from 'supertest';
import { describe, expect, it } from 'vitest';
import { CATALOG, type ErrorCode, WinnowError } from '../../src/errors.ts';
import { createApp } from '../../src/http/app.ts';
import { fakeDeps } from './fakes.ts';

const SECRET = 'a confidential text';

const BODIES: Readonly<Record<string, object>> = {
  '/rerank': { query: SECRET, texts: [SECRET] },
  '/v1/rerank': { query: SECRET, documents: [SECRET] },
  '/v2/rerank': { query: SECRET, documents: [SECRET] },
  '/v1/ranking': { query: { text: SECRET }, passages: [{ text: SECRET }] },
  '/score': { text_1: SECRET, text_2: [SECRET] },
};

async function failing(error: unknown, path = '/rerank') {
  const deps = fakeDeps();
  deps.reranker.before = () => {
    throw error;
  };
  const answer = await request(createApp(deps)).post(path).send(BODIES[path]);
  return { answer, deps };
}

const THROWN: readonly ErrorCode[] = [
  'passage_too_long',
  'unknown_model',
  'unknown_version',
  'model_refused',
  'model_not_ready',
  'overloaded',
  'deadline_exceeded',
  'shutting_down',
  'inference_failed',
  'host_lost',
  'not_a_number',
  'tokenization_failed',
];

describe.each(THROWN)('%s', (code) => {
  const params = { seconds: 7, waitMs: 12, reason: 'r', row: 3 };

  it('has its status and type everywhere', async () => {
    for (const path of Object.keys(BODIES)) {
      const { answer } = await failing(new WinnowError(code, params), path);
      expect(answer.status).toBe(CATALOG[code].status);
      expect(answer.body).toMatchObject({
        error_type: CATALOG[code].type,
        code,
        request_id: answer.headers['x-request-id'],
      });
      const { detail } = answer.body;
      // NIM's clients decode the detail of a refused body as FastAPI's list.
      expect(Array.isArray(detail)).toBe(path === '/v1/ranking' && [400, 422].includes(answer.status));
      expect(Array.isArray(detail) ? detail[0].msg : detail).toBe(answer.body.message);
    }
  });
});

describe('errors', () => {
  it('are a string under `error` for TEI, Weaviate and Cohere, an object for NIM and vLLM', async () => {
    for (const path of ['/rerank', '/v1/rerank', '/v2/rerank'])
      expect((await failing(new WinnowError('shutting_down'), path)).answer.body.error).toBe(
        'the server is shutting down',
      );
    for (const path of ['/v1/ranking', '/score'])
      expect((await failing(new WinnowError('shutting_down'), path)).answer.body).toMatchObject({
        object: 'error',
        type: 'Unhealthy',
        error: { message: 'the server is shutting down', type: 'Unhealthy', code: 'shutting_down' },
      });
  });

  it('have the form of the path before the body is read', async () => {
    const app = createApp(fakeDeps());
    const malformed = await request(app).post('/score').set('content-type', 'application/json').send('{');
    expect(malformed.body.error).toMatchObject({ code: 'malformed_json' });
  });

  it('because of load say when to retry', async () => {
    const { answer } = await failing(new WinnowError('overloaded', { waitMs: 6500, seconds: 6.5 }));
    expect(answer.status).toBe(429);
    expect(answer.headers['retry-after']).toBe('7');
    expect((await failing(new WinnowError('model_not_ready'))).answer.headers['retry-after']).toBe('1');
    expect((await failing(new WinnowError('unknown_model'))).answer.headers).not.toHaveProperty('retry-after');
  });

  it('that are unexpected are 500 without details', async () => {
    const { answer, deps } = await failing(new TypeError(`cannot read ${SECRET}`));
    expect(answer.status).toBe(500);
    expect(answer.body).toMatchObject({ code: 'internal', error_type: 'Internal' });
    expect(JSON.stringify(answer.body)).not.toContain(SECRET);
    const logged = deps.telemetry.lines.find((line) => line.level === 'error')!;
    expect(logged.fields).toMatchObject({ requestId: answer.headers['x-request-id'], code: 'internal' });
    expect((logged.fields.err as Error).cause).toBeInstanceOf(TypeError);
  });

  it('and answers are reported to metrics and log without text', async () => {
    const { deps } = await failing(new WinnowError('overloaded', { seconds: 1 }));
    expect(deps.telemetry.events).toEqual([
      expect.objectContaining({
        route: '/rerank',
        dialect: 'tei',
        status: 429,
        code: 'overloaded',
        passages: 1,
        lane: 'interactive',
      }),
    ]);
    expect(JSON.stringify(deps.telemetry.lines)).not.toContain(SECRET);
  });
});
