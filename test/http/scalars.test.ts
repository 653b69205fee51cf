import { once } from 'node:events';
import type { Server } from 'node:http';
import request from 'supertest';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createApp } from '../../src/http/app.ts';
import type { RerankRequest } from '../../src/rerank/rerank-types.ts';
import { fakeDeps } from './fakes.ts';

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

const TENSORS = [
  { name: 'query', shape: ['1'], datatype: 'BYTES', data: ['q'] },
  { name: 'passages', shape: ['3'], datatype: 'BYTES', data: ['a', 'b', 'c'] },
];

/** A body of each dialect around some fields. */
const DIALECTS: Readonly<Record<string, (fields: object) => readonly [string, object]>> = {
  tei: (fields) => ['/rerank', { query: 'q', texts: ['a', 'b', 'c'], ...fields }],
  jina: (fields) => ['/rerank', { query: 'q', documents: ['a', 'b', 'c'], ...fields }],
  'cohere-v1': (fields) => ['/v1/rerank', { query: 'q', documents: ['a', 'b', 'c'], ...fields }],
  'cohere-v2': (fields) => ['/v2/rerank', { query: 'q', documents: ['a', 'b', 'c'], ...fields }],
  voyage: (fields) => ['/rerank', { query: 'q', documents: ['a', 'b', 'c'], top_k: '3', ...fields }],
  weaviate: (fields) => ['/rerank', { query: 'q', documents: ['a', 'b', 'c'], property: '', ...fields }],
  nim: (fields) => ['/v1/ranking', { query: { text: 'q' }, passages: [{ text: 'a' }, { text: 'b' }], ...fields }],
  score: (fields) => ['/score', { text_1: 'q', text_2: ['a', 'b', 'c'], ...fields }],
  predict: (fields) => ['/predict', { inputs: ['a', 'b', 'c'].map((text) => ['q', text]), ...fields }],
  kserve: (parameters) => ['/v2/models/tiny/infer', { inputs: TENSORS, parameters }],
};

const FLAGS: Readonly<Record<string, readonly string[]>> = {
  tei: ['truncate', 'return_text', 'raw_scores', 'truncation'],
  jina: ['return_documents', 'raw_scores', 'use_activation', 'truncation'],
  'cohere-v1': ['return_documents', 'raw_scores', 'use_activation', 'truncation'],
  'cohere-v2': ['return_documents', 'raw_scores', 'use_activation', 'truncation'],
  voyage: ['return_documents', 'raw_scores', 'truncation'],
  weaviate: ['raw_scores', 'truncation'],
  nim: ['raw_scores', 'truncation'],
  score: ['raw_scores', 'use_activation', 'truncation'],
  predict: ['truncate', 'raw_scores', 'truncation'],
  kserve: ['raw_scores', 'truncation'],
};
const NUMBERS: Readonly<Record<string, readonly string[]>> = {
  tei: ['top_n', 'top_k'],
  jina: ['top_n', 'top_k'],
  'cohere-v1': ['top_n', 'top_k', 'max_chunks_per_doc'],
  'cohere-v2': ['top_n', 'top_k'],
  voyage: ['top_n', 'top_k'],
  nim: ['top_n', 'top_k'],
};
const ALL_NUMBERS = ['max_tokens_per_doc', 'priority', 'timeout_ms'];

const cases = (fields: (dialect: string) => readonly string[]) =>
  Object.keys(DIALECTS).flatMap((dialect) => fields(dialect).map((field) => [dialect, field] as const));

const send = (dialect: string, fields: object) => {
  const [path, body] = DIALECTS[dialect]!(fields);
  return request(server).post(path).send(body);
};

const lastingRequest = ({ requestId: _id, subject: _subject, signal: _signal, ...rest }: RerankRequest) => rest;

/** The part of the answer that does not change from request to request. */
const lasting = (text: string) => text.replace(/"(id|created)":("[^"]*"|\d+),?/g, '');

describe.each(cases((dialect) => FLAGS[dialect] ?? []))('%s: the flag %s', (dialect, field) => {
  it('may be a word', async () => {
    for (const flag of [true, false]) {
      const expected = lasting((await send(dialect, { [field]: flag })).text);
      for (const word of [String(flag), flag ? 'True' : 'False', String(flag).toUpperCase()]) {
        const answer = await send(dialect, { [field]: word });
        expect(answer.status, answer.text).toBe(200);
        expect(lasting(answer.text)).toBe(expected);
      }
    }
    const [first, ...others] = deps.reranker.requests.map(lastingRequest);
    expect(others.slice(0, 3)).toEqual([first, first, first]);
  });

  it('is refused as any other text', async () => {
    for (const word of ['', 'maybe', '1', 'yes', 'truely', ' true']) {
      const { status, body } = await send(dialect, { [field]: word });
      expect(status).toBe(422);
      expect(body.message).toMatch(
        new RegExp(`^expected a boolean.*, got ".*" \\(string\\) \\((parameters\\.)?${field}\\)$`),
      );
    }
  });
});

describe.each(cases((dialect) => [...(NUMBERS[dialect] ?? []), ...ALL_NUMBERS]))(
  '%s: the number %s',
  (dialect, field) => {
    it('may be written as text', async () => {
      const expected = await send(dialect, { [field]: 2 });
      const answer = await send(dialect, { [field]: '2' });
      expect(answer.status, answer.text).toBe(200);
      expect(lasting(answer.text)).toBe(lasting(expected.text));
      const [number, text] = deps.reranker.requests.map(lastingRequest);
      expect(text).toEqual(number);
    });

    it('is refused as any other text', async () => {
      for (const text of ['', 'maybe', '2.5', '2 ', '0x2', 'Infinity']) {
        // Cohere's number without effect may have a fraction.
        if (field === 'max_chunks_per_doc' && text === '2.5') continue;
        const { status, body } = await send(dialect, { [field]: text });
        expect(status).toBe(422);
        expect(body.message).toMatch(new RegExp(`got ".*" \\(string\\) \\((parameters\\.)?${field}\\)$`));
      }
    });
  },
);

describe('how much of a stage is the one before', () => {
  it('may be written as text; null is none', async () => {
    await send('jina', {
      cascade: [
        { model: 'tiny', keep: 2 },
        { model: 'tiny', blend: '0.5' },
      ],
    }).expect(200);
    expect(deps.reranker.requests[0]?.cascade).toEqual([
      { model: 'tiny', keep: 2 },
      { model: 'tiny', blend: 0.5 },
    ]);
    await send('jina', {
      cascade: [
        { model: 'tiny', keep: 2 },
        { model: 'tiny', blend: null },
      ],
    }).expect(200);
    expect(deps.reranker.requests[1]?.cascade).toEqual([{ model: 'tiny', keep: 2 }, { model: 'tiny' }]);
    const { body } = await send('jina', {
      cascade: [
        { model: 'tiny', keep: 2 },
        { model: 'tiny', blend: 2 },
      ],
    });
    expect(body.message).toContain('(cascade[1].blend)');
  });
});

describe('the number of passages that a stage keeps', () => {
  it('may be written as text', async () => {
    await send('jina', { cascade: [{ model: 'tiny', keep: '2' }, { model: 'tiny' }] }).expect(200);
    expect(deps.reranker.requests[0]?.cascade).toEqual([{ model: 'tiny', keep: 2 }, { model: 'tiny' }]);
    const { body } = await send('jina', { cascade: [{ model: 'tiny', keep: '0' }, { model: 'tiny' }] });
    expect(body.message).toContain('(cascade[0].keep)');
  });
});
