import request from 'supertest';
import { beforeEach, describe, expect, it } from 'vitest';
import { WinnowError } from '../../src/errors.ts';
import { createApp } from '../../src/http/app.ts';
import { type FakeDeps, fakeDeps, fakeLogit, sigmoid } from './fakes.ts';
import { asFloat32, PASSAGES, QUERY } from './pandas.ts';

let deps: FakeDeps;
const post = (path: string, body: object) => request(createApp(deps)).post(path).send(body);

beforeEach(() => {
  deps = fakeDeps();
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

  it('scores pair by pair, with one request for each distinct query', async () => {
    const queries = ['a', 'b', 'a', 'c'];
    const { body } = await post(path, { queries, documents: PASSAGES, use_activation: false });
    expect(scores(body)).toEqual(PASSAGES.map((text, i) => asFloat32(fakeLogit(queries[i]!, text))));
    expect(deps.reranker.requests.map(({ query }) => query)).toEqual(['a', 'b', 'c']);
  });

  it('aborts the other queries when one fails', async () => {
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
