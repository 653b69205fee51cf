import request from 'supertest';
import { beforeEach, describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import { createApp } from '../../src/http/app.ts';
import { formatScore } from '../../src/http/scores.ts';
import { type FakeDeps, fakeDeps, fakeLogit, sigmoid } from './fakes.ts';

const QUERY = 'what is a panda?';
const PASSAGES = ['hi', 'The giant panda is a bear.', 'A kitten plays with yarn.', 'Paris is in France.'];

/** Order and scores by hand: the fake's logits, sorted. */
const ranked = PASSAGES.map((text, index) => ({ index, text, logit: fakeLogit(QUERY, text) })).sort(
  (a, b) => b.logit - a.logit,
);
const indices = ranked.map(({ index }) => index);
const asFloat32 = (x: number) => Number(formatScore(x));

let deps: FakeDeps;
const post = (path: string, body: object, headers: Record<string, string> = {}) =>
  request(createApp(deps)).post(path).set(headers).send(body);

beforeEach(() => {
  deps = fakeDeps();
});

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
    'is spoken at %s',
    async (path) => {
      const { body } = await post(path, { query: QUERY, texts: PASSAGES });
      expect(body.map((item: { index: number }) => item.index)).toEqual(indices);
    },
  );

  it('tells its timings in headers', async () => {
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

  it('answers an empty list as it does', async () => {
    const { status, body } = await post('/rerank', { query: QUERY, texts: [] });
    expect(status).toBe(400);
    expect(body).toMatchObject({ error_type: 'Empty', code: 'empty_passages' });
    expect(body.error).toContain('`texts` cannot be empty');
  });
});

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
      meta: {
        api_version: { version: apiVersion },
        billed_units: { search_units: 1 },
        tokens: { input_tokens: 40 },
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
  it('ranks objects by text, and gives their fields back', async () => {
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

  it('hands every option to the re-ranker', async () => {
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

  it('shows the team of an interleaved item, and the experiment', async () => {
    deps.reranker.after = (answer) => ({
      ...answer,
      ranking: answer.ranking.map((item, i) => ({ ...item, team: i % 2 ? 'a' : 'b' })),
      experiment: { name: 'losses', arm: 'interleaved' },
    });
    const { body, headers } = await post('/rerank', { query: QUERY, documents: PASSAGES });
    expect(body.results.map((item: { team: string }) => item.team)).toEqual(['b', 'a', 'b', 'a']);
    expect(headers).toMatchObject({ 'x-winnow-experiment': 'losses', 'x-winnow-arm': 'interleaved' });
    const tei = await post('/rerank', { query: QUERY, texts: PASSAGES });
    expect(tei.body[0].team).toBe('b');
  });

  it('gives logits for raw_scores, and for vLLM when use_activation is false', async () => {
    for (const option of [{ raw_scores: true }, { use_activation: false }]) {
      const { body } = await post('/rerank', { query: QUERY, documents: PASSAGES, ...option });
      expect(body.results[0].relevance_score).toBe(asFloat32(ranked[0]!.logit));
    }
  });
});

describe('Voyage', () => {
  const expected = {
    object: 'list',
    model: 'tiny@1',
    data: ranked.map(({ index, logit }) => ({ index, relevance_score: asFloat32(sigmoid(logit)) })),
    usage: { total_tokens: 40 },
  };

  it.each([{ top_k: 4 }, { truncation: true }])('is told by %o', async (mark) => {
    const { body } = await post('/v1/rerank', { query: QUERY, documents: PASSAGES, model: 'tiny', ...mark });
    expect(body).toEqual(expected);
  });

  it.each([{ 'x-fern-sdk-name': 'voyageai' }, { 'user-agent': 'voyageai/0.4.0' }])('is told by %o', async (mark) => {
    const { body } = await post('/rerank', { query: QUERY, documents: PASSAGES, model: 'tiny' }, mark);
    expect(body).toEqual(expected);
  });

  it('gives documents back as strings and keeps the best top_k', async () => {
    const { body } = await post('/rerank', { query: QUERY, documents: PASSAGES, top_k: 1, return_documents: true });
    expect(body.data).toEqual([{ ...expected.data[0], document: ranked[0]!.text }]);
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

describe.each(['/score', '/v1/score'])('pairs at %s', (path) => {
  const scores = (body: { data: { score: number }[] }) => body.data.map(({ score }) => score);

  it('scores one query against many texts, in the order sent', async () => {
    const { body } = await post(path, { model: 'tiny', text_1: QUERY, text_2: PASSAGES });
    expect(body).toMatchObject({ object: 'list', model: 'tiny@1', usage: { total_tokens: 40 } });
    expect(body.data.map(({ index, object }: { index: number; object: string }) => [index, object])).toEqual(
      PASSAGES.map((_, i) => [i, 'score']),
    );
    expect(scores(body)).toEqual(PASSAGES.map((text) => asFloat32(sigmoid(fakeLogit(QUERY, text)))));
  });

  it('scores pair by pair, one request a distinct query', async () => {
    const queries = ['a', 'b', 'a', 'c'];
    const { body } = await post(path, { queries, documents: PASSAGES, use_activation: false });
    expect(scores(body)).toEqual(PASSAGES.map((text, i) => asFloat32(fakeLogit(queries[i]!, text))));
    expect(deps.reranker.requests.map(({ query }) => query)).toEqual(['a', 'b', 'c']);
  });

  it('withdraws the other queries when one fails', async () => {
    const signals: AbortSignal[] = [];
    deps.reranker.before = ({ query, signal }) => {
      signals.push(signal!);
      if (query === 'b') throw new WinnowError('overloaded', { seconds: 1 });
    };
    const { status } = await post(path, { text_1: ['a', 'b', 'c', 'd'], text_2: PASSAGES });
    expect(status).toBe(429);
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, true, true, true]);
  });

  it('takes two plain strings', async () => {
    const { body } = await post(path, { text_1: QUERY, text_2: PASSAGES[1] });
    expect(scores(body)).toEqual([asFloat32(sigmoid(fakeLogit(QUERY, PASSAGES[1]!)))]);
  });

  it('refuses lists that do not pair', async () => {
    const { status, body } = await post(path, { text_1: ['a', 'b'], text_2: ['c', 'd', 'e'] });
    expect(status).toBe(422);
    expect(body.message).toContain('(text_1)');
  });
});

describe('KServe', () => {
  const inputs = [
    { name: 'query', shape: [1], datatype: 'BYTES', data: [QUERY] },
    { name: 'passages', shape: [4], datatype: 'BYTES', data: PASSAGES },
  ];

  it('scores tensors of text with the model of the path', async () => {
    const { body } = await post('/v2/models/tiny/infer', { id: 'abc', inputs });
    expect(body).toEqual({
      id: 'abc',
      model_name: 'tiny',
      model_version: '1',
      outputs: [
        {
          name: 'scores',
          datatype: 'FP32',
          shape: [4],
          data: PASSAGES.map((text) => asFloat32(sigmoid(fakeLogit(QUERY, text)))),
        },
      ],
    });
    await post('/v2/models/tiny/versions/1/infer', { inputs }).expect(200);
    expect(deps.reranker.requests.map(({ model }) => model)).toEqual(['tiny', 'tiny@1']);
  });

  it('checks shapes and names', async () => {
    const wrong = await post('/v2/models/tiny/infer', { inputs: [inputs[0], { ...inputs[1], shape: [3] }] });
    expect(wrong.body.error).toBe('expected 3 strings, as the shape says, got 4 (inputs[1].data)');
    const none = await post('/v2/models/tiny/infer', { inputs: [inputs[0]] });
    expect(none.body.error).toBe('expected an input named `passages`, got none (inputs)');
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

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('%s never leaves', async (bad) => {
    deps.reranker.after = (answer) => ({
      ...answer,
      ranking: answer.ranking.map((item) => ({ ...item, score: bad, relevanceScore: bad })),
    });
    const { status, body } = await post('/rerank', { query: QUERY, texts: PASSAGES });
    expect(status).toBe(424);
    expect(body).toMatchObject({ error_type: 'Backend', code: 'not_a_number' });
  });
});
