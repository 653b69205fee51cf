import { once } from 'node:events';
import type { Server } from 'node:http';
import request from 'supertest';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createApp } from '../../src/http/app.ts';
import { fakeDeps, sigmoid } from './fakes.ts';
import { asFloat32, PASSAGES, QUERY, ranked } from './pandas.ts';

/* Bodies with documents as clients of different services write them, and the answers that their parsers read. */

const deps = fakeDeps();
let server: Server;
beforeAll(async () => {
  server = createApp(deps).listen(0);
  await once(server, 'listening');
});
afterAll(() => void server.close());
beforeEach(() => {
  deps.reranker.requests.length = 0;
});

const post = (path: string, body: object, headers: Record<string, string> = {}) =>
  request(server).post(path).set(headers).send(body);

const PATHS = ['/rerank', '/v1/rerank', '/v2/rerank', '/reranking', '/v1/reranking', '/', '/invocations'];
const scores = ranked.map(({ logit }) => asFloat32(sigmoid(logit)));
const indices = ranked.map(({ index }) => index);
const parts = (...texts: readonly string[]) => texts.map((text) => ({ type: 'text', text }));

describe.each([...PATHS, '/infinity/rerank', '/infinity/v1/rerank'])('a body with documents at %s', (path) => {
  it('takes top_k as top_n, and has its list under both names', async () => {
    for (const more of [{ top_k: 2 }, { top_n: 2 }, { top_k: 2, top_n: 2 }, { top_k: null, top_n: '2' }]) {
      const { body } = await post(path, { query: QUERY, documents: PASSAGES, ...more });
      for (const list of [body.results, body.data])
        expect(list.map(({ index }: { index: number }) => index)).toEqual(indices.slice(0, 2));
      expect(body).toMatchObject({
        id: expect.any(String),
        usage: { total_tokens: 40 },
        meta: { tokens: { output_tokens: 0 } },
      });
    }
  });

  it('leaves documents out that nothing asks for', async () => {
    for (const more of [{}, { return_documents: false }, { return_documents: 'false' }]) {
      const { body } = await post(path, { query: QUERY, documents: PASSAGES, ...more });
      for (const item of [...body.results, ...body.data]) expect(item).not.toHaveProperty('document');
    }
  });
});

describe('documents in multimodal form', () => {
  const passagesOf = async (documents: unknown, more: object = {}) => {
    const { status, text } = await post('/v1/rerank', { query: QUERY, documents, ...more });
    expect(status, text).toBe(200);
    return deps.reranker.requests.at(-1)!.passages;
  };

  it.each([
    ['parts under content', [{ content: parts('a', 'b') }, 'c'], ['a\nb', 'c']],
    ['text under content', [{ content: 'a' }, { content: 'b', text: null }], ['a', 'b']],
    ['one content whose parts are documents', { content: parts('a', 'b') }, ['a', 'b']],
    ['a part as a document', [parts('a')[0], 'b'], ['a', 'b']],
    ['parts as a document', [parts('a', 'b'), 'c'], ['a\nb', 'c']],
    ['a part without type', [{ content: [{ text: 'a' }] }], ['a']],
    ['text beside an image', [{ text: 'a', image: 'https://example.org/x.png' }], ['a']],
  ])('are read: %s', async (_name, documents, expected) => {
    expect(await passagesOf(documents)).toEqual(expected);
  });

  it('keep to rank_fields where the body names some', async () => {
    expect(await passagesOf([{ title: 'a', content: parts('b') }], { rank_fields: ['title'] })).toEqual(['a']);
  });

  it('are returned with their text', async () => {
    const documents = [{ content: parts('a', 'b') }, parts('c')];
    const { body } = await post('/v1/rerank', { query: QUERY, documents, return_documents: true });
    const sorted = body.results.toSorted((a: { index: number }, b: { index: number }) => a.index - b.index);
    expect(sorted.map(({ document }: { document: object }) => document)).toEqual([
      { content: parts('a', 'b'), text: 'a\nb' },
      { text: 'c' },
    ]);
  });

  it.each([
    [
      { content: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }] },
      '[1].content[0]',
      'image_url',
    ],
    [{ content: [...parts('a'), { type: 'video_url' }] }, '[1].content[1]', 'video_url'],
    [{ type: 'image_url', image_url: { url: 'x' } }, '[1]', 'image_url'],
    [{ image: 'https://example.org/x.png' }, '[1]', 'image'],
    [[{ type: 'input_audio', input_audio: {} }], '[1][0]', 'input_audio'],
  ])('of another kind are refused with their place: %j', async (document, place, kind) => {
    const { status, body } = await post('/v1/rerank', { query: QUERY, documents: ['x', document] });
    expect(status).toBe(422);
    expect(body.message).toBe(`expected text, because models here read text only, got \`${kind}\` (documents${place})`);
  });

  it.each([
    [null, 'expected a string or an object with `text`, got null (documents[1])'],
    [12, 'expected a string or an object with `text`, got 12 (number) (documents[1])'],
    [{ title: 'no text' }, 'expected an object with one of `text`, got none of them (documents[1])'],
    [{ text: 12 }, 'expected a string, got 12 (number) (documents[1].text)'],
    [['x'], 'expected an object with `type` and `text`, got "x" (string) (documents[1][0])'],
    [[], 'expected at least one part with `text`, got none (documents[1])'],
    [{ content: [] }, 'expected at least one part with `text`, got none (documents[1].content)'],
    [{ content: 7 }, 'expected a string, got 7 (number) (documents[1].content)'],
    [{ content: [{ type: 'text' }] }, 'expected a string, got nothing (documents[1].content[0].text)'],
  ])('without text are refused with their place: %j', async (document, message) => {
    const { status, body } = await post('/rerank', { query: QUERY, documents: ['x', document] });
    expect(status).toBe(422);
    expect(body.message).toBe(message);
  });

  it('are no list where there is none', async () => {
    for (const documents of ['a', 7, null, { a: 1 }, { content: 'a' }]) {
      const { status, body } = await post('/rerank', { query: QUERY, documents });
      expect(status).toBe(422);
      expect(body.message).toMatch(/^expected an array of strings or objects, got .* \(documents\)$/);
    }
  });

  it('have queries in the same forms', async () => {
    for (const query of ['q', { text: 'q' }, { content: parts('q') }, parts('q'), { content: 'q' }]) {
      await post('/v1/rerank', { query, documents: ['a'] }).expect(200);
      expect(deps.reranker.requests.at(-1)!.query).toBe('q');
    }
    for (const query of [7, null, {}, [], [{ type: 'image_url' }]]) {
      const { status, body } = await post('/v1/rerank', { query, documents: ['a'] });
      expect(status).toBe(422);
      expect(body.message).toMatch(/\(query(\[0\])?\)$/);
    }
  });

  it('may be empty or blank texts, each with a score', async () => {
    const { body } = await post('/v1/rerank', { query: '', documents: ['', 'a', '   ', '\n', { text: '' }] });
    expect(body.results.map(({ index }: { index: number }) => index).toSorted()).toEqual([0, 1, 2, 3, 4]);
  });
});

describe("Infinity's clients", () => {
  it.each([...PATHS])('are known at %s by raw_scores, and get documents as texts', async (path) => {
    const body = { query: QUERY, documents: PASSAGES, return_documents: true, raw_scores: false, model: 'tiny' };
    const answer = await post(path, body);
    expect(answer.body).toMatchObject({ object: 'rerank', created: expect.any(Number) });
    expect(answer.body.results).toEqual(
      ranked.map(({ index, text }, i) => ({ index, relevance_score: scores[i], document: text })),
    );
  });

  it.each(['/infinity/rerank', '/infinity/v1/rerank'])('are known by the path %s', async (path) => {
    const { body } = await post(path, { query: QUERY, documents: PASSAGES, return_documents: true, top_n: 1 });
    expect(body).toMatchObject({ object: 'rerank', results: [{ index: indices[0], document: ranked[0]!.text }] });
  });

  it('may leave the model to the server, as their client does by default', async () => {
    // Sent by infinity_client 0.0.78.
    const sent = `{"query": "q", "documents": ["a"], "return_documents": false, "raw_scores": false, "model": "default/not-specified"}`;
    await request(server).post('/rerank').set('content-type', 'application/json').send(sent).expect(200);
    expect(deps.reranker.requests[0]).not.toHaveProperty('model');
    await post('/rerank', { query: 'q', documents: ['a'], model: 'default/not-specified' }).expect(404);
  });

  it('read refusals as a list, as FastAPI writes it', async () => {
    const mistakes = [{ documents: [] }, { documents: ['a', 7] }, { documents: ['a'], top_n: -3 }];
    for (const mistake of mistakes) {
      const answer = await post('/rerank', { query: 'q', raw_scores: false, ...mistake });
      expect([400, 422]).toContain(answer.status);
      expect(answer.body.detail).toEqual([
        { type: expect.any(String), loc: expect.any(Array), msg: expect.any(String) },
      ]);
      expect(answer.body.detail[0].msg).toBe(answer.body.message);
    }
    expect((await post('/rerank', { query: 'q', documents: [] })).body.detail).toEqual(expect.any(String));
  });

  it('may leave raw_scores out where they want no documents, as Agno does', async () => {
    const body = { query: QUERY, documents: PASSAGES, return_documents: false, model: 'tiny' };
    const httpx = { 'user-agent': 'python-httpx/0.28.1' };
    expect((await post('/rerank', body, httpx)).body).toMatchObject({ object: 'rerank' });
    expect((await post('/rerank', { ...body, return_documents: true }, httpx)).body.object).toBe('list');
    expect((await post('/v1/rerank', body, httpx)).body.object).toBe('list');
    expect((await post('/rerank', body, { ...httpx, 'x-fern-sdk-name': 'cohere' })).body.object).toBe('list');
    expect((await post('/rerank', body)).body.object).toBe('list');
  });

  it('are not known by raw_scores without a value, nor Voyage by theirs', async () => {
    const plain = await post('/rerank', { query: QUERY, documents: PASSAGES, raw_scores: null });
    expect(plain.body.object).toBe('list');
    const voyage = await post('/rerank', { query: QUERY, documents: PASSAGES, raw_scores: true, top_k: 4 });
    expect(voyage.body.object).toBe('list');
    expect(voyage.body.data[0].relevance_score).toBe(asFloat32(ranked[0]!.logit));
  });
});

describe("mixedbread's clients", () => {
  const expected = ranked.map(({ index }, i) => ({ index, score: scores[i] }));

  it.each(PATHS)('send their passages as input at %s', async (path) => {
    const { body } = await post(path, { model: 'tiny', query: QUERY, input: PASSAGES, top_k: 4, return_input: false });
    expect(body).toMatchObject({ object: 'list', model: 'tiny@1', usage: { total_tokens: 40 } });
    expect(body).toMatchObject({ top_k: 4, return_input: false });
    expect(body.data).toEqual(expected);
    expect(body.results.map(({ index }: { index: number }) => index)).toEqual(indices);
  });

  it('get their passages back as they sent them', async () => {
    const input = PASSAGES.map((text, i) => (i % 2 ? { text, page: i } : text));
    const { body } = await post('/v1/reranking', { query: QUERY, input, return_input: true });
    expect(body.data).toEqual(expected.map((item) => ({ ...item, input: input[item.index] })));
    expect(body.results[0].document).toMatchObject({ text: ranked[0]!.text });
  });

  it('get errors with the name of their field', async () => {
    expect((await post('/v1/reranking', { query: 'q', input: [] })).body.message).toContain('`input`');
    expect((await post('/v1/reranking', { query: 'q', input: ['a', 7] })).body.message).toContain('(input[1])');
  });

  it('do not take bodies of others', async () => {
    const { body } = await post('/rerank', { query: QUERY, texts: PASSAGES, input: ['x'] });
    expect(body).toHaveLength(PASSAGES.length);
  });
});

describe("Pinecone's clients", () => {
  it('of its SDK read rerank_units', async () => {
    // Sent by pinecone 10.2.0.
    const headers = { 'x-pinecone-api-version': '2026-07', 'user-agent': 'python-client-10.2.0', 'api-key': 'k' };
    const documents = PASSAGES.map((text, i) => ({ id: `x${i}`, text }));
    const sent = { model: 'tiny', query: QUERY, documents, rank_fields: ['text'], return_documents: true, top_n: 1 };
    const { body } = await post('/rerank', sent, headers);
    const [index] = indices;
    expect(body.data).toEqual([{ index, score: scores[0], document: { id: `x${index}`, text: ranked[0]!.text } }]);
    expect(body.usage).toEqual({ prompt_tokens: 40, total_tokens: 40, rerank_units: 1 });
  });

  it('of other libraries read score from data, and documents from results', async () => {
    const documents = PASSAGES.map((text, i) => ({ id: `x${i}`, text }));
    const { body } = await post('/rerank', { query: QUERY, documents, top_n: 1, return_documents: true });
    const [index] = indices;
    expect(body.data).toEqual([{ index, relevance_score: scores[0], score: scores[0] }]);
    expect(body.results[0].document).toEqual({ id: `x${index}`, text: ranked[0]!.text });
  });
});

describe('returned documents', () => {
  const numbers = '"id":1234567890123456789,"price":1.50,"tags":[{"n":-0,"size":1e3}],"big":0.1000000000000000055';
  const send = async (path: string, body: string) => (await request(server).post(path).type('json').send(body)).text;

  it.each([
    ['Cohere', '/v1/rerank', '"documents"', '"return_documents":true'],
    ['Infinity', '/v1/rerank', '"documents"', '"return_documents":true,"raw_scores":"false","rank_fields":["text"]'],
    ['mixedbread', '/v1/reranking', '"input"', '"return_input":true'],
  ])('hold numbers as they came: %s', async (name, path, list, options) => {
    const answer = await send(path, `{"query":"q",${list}:[{${numbers},"text":"a"}],${options}}`);
    // Infinity's clients read texts.
    if (name === 'Infinity') expect(answer).toContain('"document":"a"');
    else expect(answer).toContain(`{${numbers},"text":"a"}`);
  });

  it('hold them also where the text is added', async () => {
    const body = `{"query":"q","documents":[{${numbers},"content":"a"}],"return_documents":true}`;
    expect(await send('/v1/rerank', body)).toContain(`"document":{${numbers},"content":"a","text":"a"}`);
    const fields = `{"query":"q","documents":[{${numbers},"name":"a"}],"return_documents":true,"rank_fields":["name"]}`;
    expect(await send('/v1/rerank', fields)).toContain(`"document":{${numbers},"name":"a","text":"a"}`);
  });
});

describe('a body without a known list', () => {
  it.each([
    [
      '/rerank',
      { docs: ['a'], return_docs: true },
      '`query`, `docs`, `return_docs`; did you mean `documents` by `docs`?',
    ],
    ['/v1/rerank', { candidates: ['a'] }, '`query`, `candidates`; did you mean `documents` by `candidates`?'],
    ['/rerank', { sentences: ['a'] }, '`query`, `sentences`; did you mean `texts` by `sentences`?'],
  ])('at %s names the field that was meant: %j', async (path, fields, got) => {
    const { status, body } = await post(path, { query: 'q', ...fields });
    expect(status).toBe(422);
    expect(body).toMatchObject({ code: 'unknown_dialect' });
    expect(body.message).toBe(
      `expected a body with \`query\` and \`input\`, ${path === '/rerank' ? '`inputs`, ' : ''}\`texts\`, \`documents\` or \`passages\`, got one with ${got}`,
    );
  });

  it('says what its path reads', async () => {
    const { body } = await post('/reranking', { query: 'q', passages: ['a'] });
    expect(body.message).toContain('`input`, `texts` or `documents`, got one with `query`, `passages`');
  });

  it("says so for a list inside `input`, as DashScope's own clients send it", async () => {
    const { body } = await post('/rerank', { model: 'm', input: { query: 'q', documents: ['a'] } });
    expect(body).toMatchObject({ code: 'unknown_dialect' });
  });
});

describe('a client that sends top_n out of range', () => {
  it.each([-1, 1.5, 1_000_001])('is refused: %s', async (top_n) => {
    const { status, body } = await post('/v1/rerank', { query: 'q', documents: ['a', 'b'], top_n });
    expect([status, body.message]).toEqual([422, expect.stringContaining('(top_n)')]);
  });

  it.each([null, 0, 100])('means all by %s', async (top_n) => {
    const { body } = await post('/v1/rerank', { query: 'q', documents: ['a', 'b'], top_n });
    expect(body.results).toHaveLength(2);
  });
});
