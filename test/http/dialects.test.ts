import request from 'supertest';
import { beforeEach, describe, expect, it } from 'vitest';
import { createApp } from '../../src/http/app.ts';
import { type FakeDeps, fakeDeps, fakeLogit, sigmoid } from './fakes.ts';
import { asFloat32, PASSAGES, QUERY, ranked } from './pandas.ts';

let deps: FakeDeps;
const post = (path: string, body: object, headers: Record<string, string> = {}) =>
  request(createApp(deps)).post(path).set(headers).send(body);

beforeEach(() => {
  deps = fakeDeps();
});

const indices = ranked.map(({ index }) => index);

describe('Text Embeddings Inference', () => {
  it('answers a bare array, best first, with relevance scores', async () => {
    const { status, body } = await post('/rerank', { query: QUERY, texts: PASSAGES });
    expect(status).toBe(200);
    expect(body).toEqual(ranked.map(({ index, logit }) => ({ index, score: asFloat32(sigmoid(logit)) })));
  });

  it('takes raw_scores, return_text and top_n', async () => {
    const { body } = await post('/rerank', {
      query: QUERY,
      texts: PASSAGES,
      raw_scores: true,
      return_text: true,
      top_n: 2,
    });
    expect(body).toEqual(
      ranked.slice(0, 2).map(({ index, logit, text }) => ({ index, score: asFloat32(logit), text })),
    );
  });

  it.each(['right', 'left', 'Right', 'Left'])('takes truncation_direction %s', async (direction) => {
    await post('/rerank', { query: QUERY, texts: PASSAGES, truncation_direction: direction }).expect(200);
    expect(deps.reranker.requests[0]?.side).toBe(direction.toLowerCase());
  });

  it('refuses to cut when truncate is false', async () => {
    const texts = ['short', 'x'.repeat(3000)];
    const { status, body } = await post('/rerank', { query: QUERY, texts, truncate: false });
    expect(status).toBe(422);
    expect(body.error_type).toBe('Validation');
    expect(body.error).toContain('at most 512 tokens');
  });

  it.each(['/', '/invocations', '/v1/rerank', '/v2/rerank', '/reranking', '/v1/reranking'])(
    'is read at %s',
    async (path) => {
      const { body } = await post(path, { query: QUERY, texts: PASSAGES });
      expect(body.map((item: { index: number }) => item.index)).toEqual(indices);
    },
  );

  it('reports timings in headers', async () => {
    const { headers } = await post('/rerank', { query: QUERY, texts: PASSAGES });
    expect(headers).toMatchObject({
      'x-compute-type': 'cpu',
      'x-compute-tokens': '40',
      'x-compute-characters': String(QUERY.length + PASSAGES.join('').length),
      'x-tokenization-time': '1',
      'x-queue-time': '3',
      'x-inference-time': '10',
      'x-winnow-model': 'tiny@1',
      'x-winnow-truncated': '0',
    });
    expect(headers['x-total-time']).toMatch(/^\d+$/);
    expect(headers['x-compute-time']).toMatch(/^\d+$/);
  });

  it('answers an empty list as the original does', async () => {
    const { status, body } = await post('/rerank', { query: QUERY, texts: [] });
    expect(status).toBe(400);
    expect(body).toMatchObject({ error_type: 'Empty', code: 'empty_passages' });
    expect(body.error).toContain('`texts` cannot be empty');
  });
});

describe('Voyage', () => {
  const data = ranked.map(({ index, logit }) => ({ index, relevance_score: asFloat32(sigmoid(logit)) }));
  const expected = {
    id: expect.any(String),
    object: 'list',
    model: 'tiny@1',
    results: data,
    data,
    meta: {
      api_version: { version: '1' },
      billed_units: { search_units: 1 },
      tokens: { input_tokens: 40, output_tokens: 0 },
    },
    usage: { prompt_tokens: 40, total_tokens: 40 },
  };

  it.each([{ top_k: 4 }, { truncation: true }])('is recognized by %o', async (mark) => {
    const { body } = await post('/v1/rerank', { query: QUERY, documents: PASSAGES, model: 'tiny', ...mark });
    expect(body).toEqual(expected);
  });

  it.each([{ 'x-fern-sdk-name': 'voyageai' }, { 'user-agent': 'voyageai/0.4.0' }])(
    'is recognized by %o',
    async (mark) => {
      const { body } = await post('/rerank', { query: QUERY, documents: PASSAGES, model: 'tiny' }, mark);
      expect(body).toEqual(expected);
    },
  );

  it('returns documents as strings and the best top_k', async () => {
    const { body } = await post('/rerank', { query: QUERY, documents: PASSAGES, top_k: 1, return_documents: true });
    expect(body.data).toEqual([{ ...expected.data[0], document: ranked[0]!.text }]);
    expect(body.results).toEqual([{ ...expected.data[0], document: { text: ranked[0]!.text } }]);
  });

  it('truncation false refuses to cut', async () => {
    const { status } = await post('/rerank', { query: QUERY, documents: ['x'.repeat(3000)], truncation: false });
    expect(status).toBe(422);
  });
});

describe('Weaviate', () => {
  it('answers in the order sent, with the documents', async () => {
    const { body } = await post('/rerank', { query: QUERY, documents: PASSAGES, property: '' });
    expect(body).toEqual({
      query: QUERY,
      scores: PASSAGES.map((document) => ({ document, score: asFloat32(sigmoid(fakeLogit(QUERY, document))) })),
      property: '',
    });
  });
});

describe('NIM', () => {
  it.each(['/v1/ranking', '/rerank'])('answers logits at %s', async (path) => {
    const passages = PASSAGES.map((text) => ({ text }));
    const { body } = await post(path, { model: 'tiny', query: { text: QUERY }, passages, truncate: 'END' });
    expect(body).toEqual({
      rankings: ranked.map(({ index, logit }) => ({ index, logit: asFloat32(logit) })),
      usage: { prompt_tokens: 40, total_tokens: 40 },
    });
    expect(deps.reranker.requests[0]?.truncate).toBe(true);
  });

  it('truncate NONE refuses to cut, in the shape of its errors', async () => {
    const { status, body } = await post('/v1/ranking', {
      query: { text: QUERY },
      passages: [{ text: 'x'.repeat(3000) }],
      truncate: 'NONE',
    });
    expect(status).toBe(422);
    expect(body).toMatchObject({ object: 'error', type: 'Validation', error: { code: 'passage_too_long' } });
  });

  it('names a passage without text', async () => {
    const { body } = await post('/v1/ranking', { query: { text: QUERY }, passages: [{ text: 'a' }, { body: 'b' }] });
    expect(body.message).toBe('expected an object with `text`, got one without it (passages[1])');
  });
});

describe('scores on the wire', () => {
  it('always have a decimal point', async () => {
    deps.reranker.after = (answer) => ({
      ...answer,
      ranking: answer.ranking.map((item) => ({ ...item, score: 3, relevanceScore: 1 })),
    });
    const bodies = [
      { query: QUERY, texts: PASSAGES },
      { query: QUERY, documents: PASSAGES },
      { query: QUERY, documents: PASSAGES, top_k: 2 },
      { query: QUERY, documents: PASSAGES, property: 'p' },
      { query: { text: QUERY }, passages: PASSAGES.map((text) => ({ text })) },
    ];
    for (const body of bodies) {
      const { text } = await post('/rerank', body).buffer(true);
      expect(text).toMatch(/"(relevance_score|score|logit)":[13]\.0[,}]/);
      expect(text).not.toMatch(/"(relevance_score|score|logit)":\d+[,}]/);
    }
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('%s is never written', async (bad) => {
    deps.reranker.after = (answer) => ({
      ...answer,
      ranking: answer.ranking.map((item) => ({ ...item, score: bad, relevanceScore: bad })),
    });
    const { status, body } = await post('/rerank', { query: QUERY, texts: PASSAGES });
    expect(status).toBe(424);
    expect(body).toMatchObject({ error_type: 'Backend', code: 'not_a_number' });
  });
});
