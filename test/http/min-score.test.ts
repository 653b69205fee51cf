import { once } from 'node:events';
import type { Server } from 'node:http';
import request from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApp } from '../../src/http/app.ts';
import { fakeDeps, fakeLogit, sigmoid } from './fakes.ts';
import { PASSAGES, QUERY, ranked } from './pandas.ts';

let server: Server;
beforeAll(async () => {
  server = createApp(fakeDeps()).listen(0);
  await once(server, 'listening');
});
afterAll(() => void server.close());

const post = (path: string, body: object) => request(server).post(path).send(body);

/** Between the third and the fourth passage. */
const LEAST = (sigmoid(ranked[2]!.logit) + sigmoid(ranked[3]!.logit)) / 2;
const best = ranked.slice(0, 3).map(({ index }) => index);
const sent = best.toSorted();

interface Item {
  readonly index: number;
}
const indexOf = ({ index }: Item) => index;
const passages = PASSAGES.map((text) => ({ text }));

/** The fields of all formats. */
interface Answer {
  readonly results: readonly Item[];
  readonly data: readonly Item[];
  readonly rankings: readonly Item[];
  readonly scores: readonly { readonly document: string }[];
  readonly meta?: { readonly below_min_score?: number };
  map(of: (item: Item) => number): number[];
  flatMap(of: (list: readonly unknown[], i: number) => number[]): number[];
}

interface Format {
  readonly path: string;
  readonly body: object;
  /** Places of the passages in an answer. */
  places(answer: Answer): readonly number[];
  readonly expected: readonly number[];
  /** Where the answer counts the others. */
  below?(answer: Answer): unknown;
}

const inMeta = (answer: Answer) => answer.meta?.below_min_score;
const documents = (path: string, more: object = {}): Format => ({
  path,
  body: { query: QUERY, documents: PASSAGES, ...more },
  places: ({ results, data }) => {
    expect(data.map(indexOf)).toEqual(results.map(indexOf));
    return results.map(indexOf);
  },
  expected: best,
  below: inMeta,
});

const FORMATS: Readonly<Record<string, Format>> = {
  jina: documents('/rerank'),
  'cohere-v1': documents('/v1/rerank'),
  'cohere-v2': documents('/v2/rerank'),
  voyage: documents('/rerank', { top_k: 4 }),
  infinity: documents('/infinity/rerank'),
  mixedbread: { ...documents('/v1/reranking'), body: { query: QUERY, input: PASSAGES } },
  tei: {
    path: '/rerank',
    body: { query: QUERY, texts: PASSAGES },
    places: (list) => list.map(indexOf),
    expected: best,
  },
  nim: {
    path: '/v1/ranking',
    body: { query: { text: QUERY }, passages },
    places: ({ rankings }) => rankings.map(indexOf),
    expected: best,
    below: inMeta,
  },
  score: {
    path: '/score',
    body: { text_1: QUERY, text_2: PASSAGES },
    places: ({ data }) => data.map(indexOf),
    expected: sent,
    below: inMeta,
  },
  predict: {
    path: '/predict',
    body: { inputs: PASSAGES.map((text) => [QUERY, text]) },
    places: (lists) => {
      expect(lists).toHaveLength(PASSAGES.length);
      return lists.flatMap((list, i) => (list.length > 0 ? [i] : []));
    },
    expected: sent,
  },
  weaviate: {
    path: '/rerank',
    body: { query: QUERY, documents: PASSAGES, property: '' },
    places: ({ scores }) => scores.map(({ document }) => PASSAGES.indexOf(document)),
    expected: sent,
    below: inMeta,
  },
};

describe.each(Object.entries(FORMATS))('min_score in the format %s', (_name, format) => {
  const ask = (more: object) => post(format.path, { ...format.body, ...more });

  it('leaves out what is below, and counts it', async () => {
    const answer = await ask({ min_score: LEAST });
    expect(answer.status, answer.text).toBe(200);
    expect(format.places(answer.body)).toEqual(format.expected);
    expect(answer.headers['x-winnow-below-min-score']).toBe('1');
    if (format.below) expect(format.below(answer.body)).toBe(1);
  });

  it('may leave out everything or nothing, and may be text', async () => {
    for (const [least, count] of [
      [1.5, 4],
      ['1.5', 4],
      [0, 0],
      [-3, 0],
      ['1e-30', 0],
    ] as const) {
      const answer = await ask({ min_score: least });
      expect(format.places(answer.body)).toHaveLength(4 - count);
      expect(answer.headers['x-winnow-below-min-score']).toBe(String(count));
    }
  });

  it('is of the relevance score, whatever score the answer has', async () => {
    const answer = await ask({ min_score: LEAST, raw_scores: true });
    expect(format.places(answer.body)).toEqual(format.expected);
  });

  it('says nothing where there is none', async () => {
    for (const more of [{}, { min_score: null }]) {
      const answer = await ask(more);
      expect(answer.headers).not.toHaveProperty('x-winnow-below-min-score');
      if (format.below) expect(format.below(answer.body)).toBeUndefined();
    }
  });

  it('is refused where it is no number', async () => {
    for (const least of ['', 'high', true, '0,5', '1e999', 1e300]) {
      const { status, body } = await ask({ min_score: least });
      expect(status).toBe(422);
      expect(body.message).toContain('(min_score)');
    }
  });
});

describe('min_score', () => {
  it('comes before top_n', async () => {
    const { body } = await post('/v1/rerank', { query: QUERY, documents: PASSAGES, min_score: LEAST, top_n: 2 });
    expect(body.results.map(indexOf)).toEqual(best.slice(0, 2));
    expect(body.meta.below_min_score).toBe(1);
  });

  it('gives tensors with gaps their places', async () => {
    const body = {
      inputs: [
        { name: 'query', shape: [1], datatype: 'BYTES', data: [QUERY] },
        { name: 'passages', shape: [4], datatype: 'BYTES', data: PASSAGES },
      ],
      parameters: { min_score: LEAST },
    };
    const answer = await post('/v2/models/tiny/infer', body);
    expect(answer.body.parameters).toEqual({ below_min_score: 1 });
    expect(answer.body.outputs).toMatchObject([
      { name: 'scores', datatype: 'FP32', shape: [3] },
      { name: 'indices', datatype: 'INT64', shape: [3], data: sent },
    ]);
    const plain = await post('/v2/models/tiny/infer', { ...body, parameters: {} });
    expect(plain.body.outputs).toHaveLength(1);
  });

  it('counts over all queries of a body', async () => {
    const pairs = [...PASSAGES, ...PASSAGES];
    const queries = pairs.map((_, i) => (i < 4 ? QUERY : 'another'));
    const { body, headers } = await post('/score', { text_1: queries, text_2: pairs, min_score: LEAST });
    const scores = pairs.map((text, i) => sigmoid(fakeLogit(queries[i]!, text)));
    const kept = scores.flatMap((score, i) => (score >= LEAST ? [i] : []));
    expect(body.data.map(indexOf)).toEqual(kept);
    expect(headers['x-winnow-below-min-score']).toBe(String(8 - kept.length));
  });
});
