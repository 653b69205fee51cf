import request from 'supertest';
import { beforeEach, describe, expect, it } from 'vitest';
import { createApp } from '../../src/http/app.ts';
import { type FakeDeps, fakeDeps, fakeLogit, sigmoid } from './fakes.ts';

let deps: FakeDeps;
let app: ReturnType<typeof createApp>;
beforeEach(() => {
  deps = fakeDeps();
  app = createApp(deps);
});

/** The shortest number of the same float32, as answers have it. */
const shown = (x: number) => [7, 8, 9].map((n) => Number(x.toPrecision(n))).find((y) => Math.fround(y) === x)!;

const post = (path: string, body: object) => request(app).post(path).send(body);

describe("the paths of NVIDIA's hosted service", () => {
  const BODY = { query: { text: 'q' }, passages: [{ text: 'a' }, { text: 'b' }], truncate: 'END' };
  const PATHS = [
    '/v1/ranking',
    '/ranking',
    '/v1',
    '/v1/retrieval/nvidia/reranking',
    '/v1/retrieval/nvidia/tiny/reranking',
  ];

  it.each(PATHS)('%s answers every index with its logit', async (path) => {
    const { status, body } = await post(path, BODY);
    expect(status).toBe(200);
    const logits = body.rankings.toSorted((a: { index: number }, b: { index: number }) => a.index - b.index);
    expect(logits).toEqual(['a', 'b'].map((text, index) => ({ index, logit: shown(fakeLogit('q', text)) })));
  });

  it.each([
    ['/v1/retrieval/nvidia/reranking', undefined, undefined],
    ['/v1/retrieval/nvidia/tiny/reranking', undefined, 'tiny'],
    ['/v1/retrieval/tiny/reranking', undefined, 'tiny'],
    ['/v1/retrieval/org/tiny/reranking', undefined, 'tiny'],
    // The body has the exact name; the path has underscores for dots.
    ['/v1/retrieval/nvidia/llama-3_2-rank/reranking', 'tiny', 'tiny'],
    ['/v1/ranking', 'org/tiny', 'tiny'],
  ])('%s with model %s asks %s', async (path, model, asked) => {
    await post(path, { ...BODY, model }).expect(200);
    expect(deps.reranker.requests.at(-1)?.model).toBe(asked);
  });

  it.each(PATHS)('%s refuses a body with a list of details', async (path) => {
    const empty = await post(path, { ...BODY, passages: [] });
    expect(empty.status).toBe(400);
    expect(empty.body.detail).toEqual([{ type: 'empty_passages', loc: ['body', 'passages'], msg: empty.body.message }]);
    const wrong = await post(path, { ...BODY, passages: [{ text: 'a' }, { body: 'b' }] });
    expect(wrong.body.detail).toEqual([
      { type: 'invalid_field', loc: ['body', 'passages', 1], msg: wrong.body.message },
    ]);
    expect((await post(path, { ...BODY, query: 'q' })).body.detail[0].loc).toEqual(['body', 'query']);
  });
});

describe('DashScope’s paths', () => {
  it.each(['/reranks', '/v1/reranks', '/compatible-api/v1/reranks'])('%s', async (path) => {
    const { body } = await post(path, { query: 'q', documents: ['a', 'b'] });
    expect(body.results).toHaveLength(2);
  });
});

describe('pairs in `inputs`', () => {
  const PATHS = ['/predict', '/', '/rerank', '/invocations'];
  const of = (query: string, passage: string) => ({
    label: 'LABEL_0',
    score: shown(sigmoid(fakeLogit(query, passage))),
  });

  it.each(PATHS)('%s answers in the order sent, a list for each pair', async (path) => {
    const lists = await post(path, {
      inputs: [
        ['q', 'a'],
        ['r', 'b'],
        ['q', 'c'],
      ],
    });
    expect(lists.body).toEqual([[of('q', 'a')], [of('r', 'b')], [of('q', 'c')]]);
    const objects = await post(path, { inputs: [{ text: 'q', text_pair: 'a' }] });
    expect(objects.body).toEqual([[of('q', 'a')]]);
  });

  it('answers one pair alone with one list', async () => {
    for (const inputs of [['q', 'a'], { text: 'q', text_pair: 'a' }])
      expect((await post('/predict', { inputs })).body).toEqual([of('q', 'a')]);
  });

  it('answers logits where they are asked for', async () => {
    const { body } = await post('/predict', { inputs: [['q', 'a']], raw_scores: true });
    expect(body).toEqual([[{ label: 'LABEL_0', score: shown(fakeLogit('q', 'a')) }]]);
  });

  it.each([
    ['q', 'inputs'],
    [['q'], 'inputs'],
    [['q', 'a', 'b'], 'inputs'],
    [[['q']], 'inputs[0]'],
    [[['q', 'a'], 'q'], 'inputs[1]'],
    [[['q', 7]], 'inputs[0][1]'],
    [{ text: 'q' }, 'inputs'],
    [[{ text: 'q', text_pair: null }], 'inputs[0].text_pair'],
    [null, 'inputs'],
  ])('refuses %j and names the field', async (inputs, field) => {
    const { status, body } = await post('/predict', { inputs });
    expect(status).toBe(422);
    expect(body.message).toContain(field === 'inputs' ? 'inputs' : `(${field})`);
  });

  it('answers a pair below min_score with an empty list', async () => {
    const inputs = [
      ['q', 'a'],
      ['q', 'c'],
    ];
    const [a, c] = inputs.map(([query, passage]) => of(query!, passage!).score) as [number, number];
    const least = (a + c) / 2;
    const { body, headers } = await post('/predict', { inputs, min_score: least });
    expect(body.map((list: unknown[]) => list.length)).toEqual([a > c ? 1 : 0, a > c ? 0 : 1]);
    expect(headers['x-winnow-below-min-score']).toBe('1');
    expect((await post('/predict', { inputs: ['q', 'a'], min_score: 2 })).body).toEqual([]);
  });

  it('refuses no pair at all', async () => {
    expect((await post('/predict', { inputs: [] })).body.code).toBe('empty_passages');
  });

  it('names fields without effect', async () => {
    const answer = await post('/predict', { inputs: [['q', 'a']], top_n: 1, cascade: [{ model: 'tiny' }] });
    expect(answer.headers['x-winnow-ignored']).toBe('top_n, cascade');
  });
});
