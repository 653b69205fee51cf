import request from 'supertest';
import { expect, it } from 'vitest';
import { createApp } from '../../src/http/app.ts';
import { fakeDeps } from './fakes.ts';
import { PASSAGES, QUERY } from './pandas.ts';

const kept = { hits: 3, misses: 1 };

/** Bodies of formats whose answers have `usage`, by path. */
const WITH_USAGE: Readonly<Record<string, object>> = {
  '/v2/rerank': { query: QUERY, documents: PASSAGES },
  '/v1/rerank': { query: QUERY, documents: PASSAGES },
  '/score': { text_1: QUERY, text_2: PASSAGES },
  '/v1/ranking': { query: { text: QUERY }, passages: PASSAGES.map((text) => ({ text })) },
};

it.each(Object.entries(WITH_USAGE))('%s says in usage and a header how many passages were kept', async (path, body) => {
  const deps = fakeDeps();
  const plain = await request(createApp(deps)).post(path).send(body);
  expect(plain.body.usage).not.toHaveProperty('kept_passages');
  expect(plain.headers).not.toHaveProperty('x-winnow-kept-passages');
  deps.reranker.after = (answer) => ({ ...answer, kept });
  const answer = await request(createApp(deps)).post(path).send(body);
  expect(answer.status).toBe(200);
  expect(answer.body.usage).toEqual({ ...plain.body.usage, kept_passages: 3 });
  expect(answer.headers['x-winnow-kept-passages']).toBe('3');
  expect(deps.telemetry.events.at(-1)).toMatchObject({ kept });
});

it('formats without usage have the header alone', async () => {
  const deps = fakeDeps();
  const ask = () => request(createApp(deps)).post('/rerank').send({ query: QUERY, texts: PASSAGES });
  const plain = await ask();
  deps.reranker.after = (answer) => ({ ...answer, kept });
  const answer = await ask();
  expect(answer.body).toEqual(plain.body);
  expect(answer.headers['x-winnow-kept-passages']).toBe('3');
});

it('queries of one body are added up', async () => {
  const deps = fakeDeps();
  deps.reranker.after = (answer) => ({ ...answer, kept });
  const body = { text_1: [QUERY, 'another'], text_2: PASSAGES.slice(0, 2) };
  const answer = await request(createApp(deps)).post('/score').send(body);
  expect(answer.body.usage).toMatchObject({ kept_passages: 6 });
  expect(answer.headers['x-winnow-kept-passages']).toBe('6');
});
