import request from 'supertest';
import { beforeEach, describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import { createApp } from '../../src/http/app.ts';
import { DIALECTS } from '../../src/http/dialects/dispatch.ts';
import { inSentNames, listNames } from '../../src/http/dialects/sent-names.ts';
import { type FakeDeps, fakeDeps } from './fakes.ts';

const LONG = 'x'.repeat(3000);
const TEXTS = ['a', LONG, 'c'];
const objects = TEXTS.map((text) => ({ text }));

const tensors = (passages: readonly string[], parameters: object) => ({
  inputs: [
    { name: 'passages', shape: [passages.length], datatype: 'BYTES', data: passages },
    { name: 'query', shape: [1], datatype: 'BYTES', data: ['q'] },
  ],
  parameters,
});

interface Case {
  readonly dialect: string;
  readonly path: string;
  readonly body: object;
  readonly headers?: Readonly<Record<string, string>>;
  /** What the client calls its query and its second passage. */
  readonly query: string;
  readonly passage: string;
}

const INFER = '/v2/models/tiny/infer';
const documents = { query: 'q', documents: TEXTS, truncation: false };

const CASES: readonly Case[] = [
  {
    dialect: 'mixedbread',
    path: '/v1/reranking',
    body: { query: 'q', input: TEXTS, truncation: false },
    query: 'query',
    passage: 'input[1]',
  },
  { dialect: 'jina', path: '/v1/rerank', body: documents, query: 'query', passage: 'documents[1]' },
  { dialect: 'cohere-v1', path: '/v1/rerank', body: documents, query: 'query', passage: 'documents[1]' },
  { dialect: 'cohere-v2', path: '/v2/rerank', body: documents, query: 'query', passage: 'documents[1]' },
  {
    dialect: 'voyage',
    path: '/v1/rerank',
    body: { ...documents, top_k: 1 },
    query: 'query',
    passage: 'documents[1]',
  },
  {
    dialect: 'pinecone',
    path: '/rerank',
    body: { ...documents, documents: objects },
    headers: { 'x-pinecone-api-version': '2025-04' },
    query: 'query',
    passage: 'documents[1]',
  },
  { dialect: 'infinity', path: '/infinity/rerank', body: documents, query: 'query', passage: 'documents[1]' },
  {
    dialect: 'infinity',
    path: '/v1/rerank',
    body: {
      query: 'q',
      documents: { content: TEXTS.map((text) => ({ type: 'text', text })) },
      truncation: false,
      raw_scores: true,
    },
    query: 'query',
    passage: 'documents.content[1]',
  },
  {
    dialect: 'tei',
    path: '/rerank',
    body: { query: 'q', texts: TEXTS, truncate: false },
    query: 'query',
    passage: 'texts[1]',
  },
  {
    dialect: 'weaviate',
    path: '/rerank',
    body: { ...documents, property: 'p' },
    query: 'query',
    passage: 'documents[1]',
  },
  {
    dialect: 'nim',
    path: '/v1/ranking',
    body: { query: { text: 'q' }, passages: objects, truncate: 'NONE' },
    query: 'query.text',
    passage: 'passages[1].text',
  },
  {
    dialect: 'score',
    path: '/score',
    body: { text_1: 'q', text_2: TEXTS, truncation: false },
    query: 'text_1',
    passage: 'text_2[1]',
  },
  {
    dialect: 'score',
    path: '/v1/score',
    body: { queries: ['q'], documents: LONG, truncation: false },
    query: 'queries[0]',
    passage: 'documents',
  },
  {
    dialect: 'predict',
    path: '/predict',
    body: { inputs: TEXTS.map((text) => ['q', text]), truncate: false },
    query: 'inputs[0][0]',
    passage: 'inputs[1][1]',
  },
  {
    dialect: 'predict',
    path: '/',
    body: { inputs: { text: 'q', text_pair: LONG }, truncate: false },
    query: 'inputs.text',
    passage: 'inputs.text_pair',
  },
  {
    dialect: 'kserve',
    path: INFER,
    body: tensors(TEXTS, { truncation: false }),
    query: 'inputs[1].data[0]',
    passage: 'inputs[0].data[1]',
  },
];

let deps: FakeDeps;
beforeEach(() => {
  deps = fakeDeps({});
});

const refusal = async ({ path, body, headers = {} }: Pick<Case, 'path' | 'body' | 'headers'>) => {
  const answer = await request(createApp(deps)).post(path).set(headers).send(body);
  return `${answer.status} ${(answer.body as { message: string }).message}`;
};

const throwing = (error: WinnowError) => {
  deps.reranker.before = () => {
    throw error;
  };
};

const fault = (field: string) => new WinnowError('invalid_field', { expected: 'more', got: 1, field });

describe('a refusal from behind the dialect', () => {
  it('is tried in every dialect', () => {
    const tried = new Set(CASES.map(({ dialect }) => dialect));
    expect(DIALECTS.map(({ name }) => name).filter((name) => !tried.has(name))).toEqual([]);
  });

  it.each(CASES)('names a passage as $dialect at $path does: $passage', async (sent) => {
    expect(await refusal(sent)).toBe(
      `422 expected at most 512 tokens, got 600 (${sent.passage}); allow truncation or shorten it`,
    );
  });

  it.each(CASES)('names the query as $dialect at $path does: $query', async (sent) => {
    throwing(fault('query'));
    expect(await refusal(sent)).toBe(`422 expected more, got 1 (${sent.query})`);
  });

  it.each(CASES)('names options as $dialect at $path does', async (sent) => {
    const before = sent.dialect === 'kserve' ? 'parameters.' : '';
    throwing(fault('maxLength'));
    expect(await refusal(sent)).toBe(`422 expected more, got 1 (${before}truncate_prompt_tokens)`);
    const short = { truncate_prompt_tokens: 3 };
    const body = sent.dialect === 'kserve' ? tensors(['a'], short) : { ...sent.body, ...short };
    expect(await refusal({ ...sent, body })).toBe(
      `422 expected -1 or a whole number of at least 8, got 3 (${before}truncate_prompt_tokens)`,
    );
  });

  it('names pairs by their place in the body, whatever query they belong to', async () => {
    const body = { text_1: ['p', 'q', 'p', 'q'], data_2: ['a', 'b', 'c', LONG], truncation: false };
    expect(await refusal({ path: '/score', body })).toContain('(data_2[3])');
    deps.reranker.before = ({ query }) => {
      if (query === 'q') throw new WinnowError('not_a_number', { row: 1 });
    };
    expect(await refusal({ path: '/score', body })).toBe('424 score is NaN (row 3)');
    deps.reranker.before = ({ query }) => {
      if (query === 'q') throw fault('query');
    };
    expect(await refusal({ path: '/score', body })).toContain('(text_1[1])');
  });

  it('keeps code, parameters and cause', () => {
    const error = new WinnowError('passage_too_long', { limit: 8, got: 9, field: 'passages[2]' });
    const sent = inSentNames(error, listNames('texts'));
    expect(sent).toMatchObject({ code: 'passage_too_long', params: { limit: 8, got: 9, field: 'texts[2]' } });
    expect((sent as WinnowError).cause).toBe(error);
  });

  it('is left as it is where it names nothing of the body', () => {
    const others = [
      new WinnowError('deadline_exceeded', { deadlineMs: 5 }),
      fault('cascade[0].keep'),
      fault('header x-winnow-deadline-ms'),
      new Error('query'),
      'query',
    ];
    for (const error of others) expect(inSentNames(error, listNames('texts'))).toBe(error);
  });
});
