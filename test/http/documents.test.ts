import request from 'supertest';
import { beforeEach, describe, expect, it } from 'vitest';
import { createApp } from '../../src/http/app.ts';
import { type FakeDeps, fakeDeps, sigmoid } from './fakes.ts';
import { asFloat32, PASSAGES, QUERY, ranked } from './pandas.ts';

let deps: FakeDeps;
const post = (path: string, body: object, headers: Record<string, string> = {}) =>
  request(createApp(deps)).post(path).set(headers).send(body);

beforeEach(() => {
  deps = fakeDeps();
});

const indices = ranked.map(({ index }) => index);

describe.each([
  ['/rerank', '1'],
  ['/v1/rerank', '1'],
  ['/v2/rerank', '2'],
  ['/reranking', '1'],
  ['/v1/reranking', '1'],
])('documents at %s', (path, apiVersion) => {
  it('answers what Cohere, Jina, vLLM and llama.cpp clients read', async () => {
    const { status, body } = await post(path, { model: 'tiny', query: QUERY, documents: PASSAGES });
    expect(status).toBe(200);
    expect(body).toEqual({
      id: expect.any(String),
      model: 'tiny@1',
      object: 'list',
      results: ranked.map(({ index, logit }) => ({ index, relevance_score: asFloat32(sigmoid(logit)) })),
      data: ranked.map(({ index, logit }) => {
        const score = asFloat32(sigmoid(logit));
        return { index, relevance_score: score, score };
      }),
      meta: {
        api_version: { version: apiVersion },
        billed_units: { search_units: 1 },
        tokens: { input_tokens: 40, output_tokens: 0 },
      },
      usage: { prompt_tokens: 40, total_tokens: 40 },
    });
  });

  it('takes top_n and return_documents', async () => {
    const { body } = await post(path, { query: QUERY, documents: PASSAGES, top_n: 1, return_documents: true });
    expect(body.results).toEqual([
      {
        index: indices[0],
        relevance_score: asFloat32(sigmoid(ranked[0]!.logit)),
        document: { text: ranked[0]!.text },
      },
    ]);
  });
});

describe('documents', () => {
  it('ranks objects by text, and returns their fields', async () => {
    const documents = PASSAGES.map((text, i) => ({ text, page: i }));
    const { body } = await post('/v1/rerank', { query: QUERY, documents, return_documents: true });
    expect(deps.reranker.requests[0]?.passages).toEqual(PASSAGES);
    expect(body.results[0].document).toEqual({ text: ranked[0]!.text, page: indices[0] });
  });

  it('joins rank_fields in their order', async () => {
    const documents = [{ title: 'Panda', body: 'A bear.' }, { body: 'No title.', title: null }, 'plain'];
    const { body } = await post('/v1/rerank', {
      query: QUERY,
      documents,
      rank_fields: ['title', 'body'],
      return_documents: true,
    });
    expect(deps.reranker.requests[0]?.passages).toEqual(['Panda\nA bear.', 'No title.', 'plain']);
    const first = body.results.find((result: { index: number }) => result.index === 0);
    expect(first.document).toEqual({ title: 'Panda', body: 'A bear.', text: 'Panda\nA bear.' });
  });

  it('names the document that has none of the fields', async () => {
    const { status, body } = await post('/v1/rerank', { query: QUERY, documents: ['a', { title: 'x' }] });
    expect(status).toBe(422);
    expect(body.message).toBe('expected an object with one of `text`, got none of them (documents[1])');
  });

  it('passes every option to the re-ranker', async () => {
    await post('/v2/rerank', {
      query: QUERY,
      documents: PASSAGES,
      model: 'tiny:stable',
      max_tokens_per_doc: 100,
      priority: 3,
      long_passages: 'max',
      truncation: 'only_second',
      truncation_side: 'left',
      timeout_ms: 1234,
      top_n: 3,
      user: 'u1',
    }).expect(200);
    expect(deps.reranker.requests[0]).toMatchObject({
      model: 'tiny:stable',
      maxPassageTokens: 100,
      priority: 3,
      longPassages: 'max',
      truncation: 'only_second',
      side: 'left',
      deadlineMs: 1234,
      topN: 3,
      truncate: true,
      lane: 'interactive',
      subject: { user: 'u1' },
    });
  });

  it('takes null for every optional field', async () => {
    await post('/v2/rerank', {
      query: QUERY,
      documents: PASSAGES,
      model: null,
      top_n: null,
      return_documents: null,
      rank_fields: null,
      max_tokens_per_doc: null,
      priority: null,
      cascade: null,
      truncation: null,
      user: null,
    }).expect(200);
    expect(deps.reranker.requests[0]).not.toHaveProperty('topN');
    expect(deps.reranker.requests[0]).not.toHaveProperty('model');
  });

  it('counts top_n 0 as all, as vLLM does', async () => {
    const { body } = await post('/rerank', { query: QUERY, documents: PASSAGES, top_n: 0 });
    expect(body.results).toHaveLength(PASSAGES.length);
  });

  it('takes a cascade of models', async () => {
    const cascade = [{ model: 'tiny', keep: 2 }, { model: 'tiny@1' }];
    await post('/rerank', { query: QUERY, documents: PASSAGES, cascade }).expect(200);
    expect(deps.reranker.requests[0]?.cascade).toEqual(cascade);
    const { body } = await post('/rerank', { query: QUERY, documents: PASSAGES, cascade, model: 'tiny' });
    expect(body.message).toBe('expected either `model` or `cascade`, got both (cascade)');
    const open = await post('/rerank', {
      query: QUERY,
      documents: PASSAGES,
      cascade: [{ model: 'a' }, { model: 'b' }],
    });
    expect(open.body.message).toContain('(cascade[0].keep)');
  });

  it('says which passages were cut', async () => {
    const documents = ['a', 'x'.repeat(3000), 'b', 'y'.repeat(3000)];
    const { body, headers } = await post('/rerank', { query: QUERY, documents });
    expect(body.truncated).toEqual([1, 3]);
    expect(body.meta.warnings).toEqual(['2 of 4 passages were truncated']);
    expect(headers['x-winnow-truncated']).toBe('2');
  });

  it('shows the teams of interleaved items beside them, and the experiment', async () => {
    deps.reranker.after = (answer) => ({
      ...answer,
      ranking: answer.ranking.map((item, i) => ({ ...item, team: i % 2 ? 'a' : 'b' })),
      experiment: { name: 'losses', arm: 'interleaved' },
    });
    const { body, headers } = await post('/rerank', { query: QUERY, documents: PASSAGES });
    expect(body.teams).toEqual(['b', 'a', 'b', 'a']);
    // Elasticsearch refuses results with a field that it does not know.
    expect(Object.keys(body.results[0])).toEqual(['index', 'relevance_score']);
    expect(headers).toMatchObject({ 'x-winnow-experiment': 'losses', 'x-winnow-arm': 'interleaved' });
    const tei = await post('/rerank', { query: QUERY, texts: PASSAGES });
    expect(Object.keys(tei.body[0])).toEqual(['index', 'score']);
    expect(tei.headers['x-winnow-teams']).toBe('b, a, b, a');
    const passages = PASSAGES.map((text) => ({ text }));
    const nim = await post('/v1/ranking', { query: { text: QUERY }, passages });
    expect(nim.body.teams).toEqual(['b', 'a', 'b', 'a']);
    expect(Object.keys(nim.body.rankings[0])).toEqual(['index', 'logit']);
  });

  it('gives logits for raw_scores, and for vLLM when use_activation is false', async () => {
    for (const option of [{ raw_scores: true }, { use_activation: false }]) {
      const { body } = await post('/rerank', { query: QUERY, documents: PASSAGES, ...option });
      expect(body.results[0].relevance_score).toBe(asFloat32(ranked[0]!.logit));
    }
  });
});
