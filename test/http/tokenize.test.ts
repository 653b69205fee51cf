import request from 'supertest';
import { beforeEach, describe, expect, it } from 'vitest';
import { createApp } from '../../src/http/app.ts';
import { type FakeDeps, fakeDeps, fakeTokenReader } from './fakes.ts';

let deps: FakeDeps;
let asked: Parameters<typeof fakeTokenReader.tokens>[0][];
beforeEach(() => {
  asked = [];
  deps = fakeDeps({
    tokenReader: {
      tokens(one) {
        asked.push(one);
        return fakeTokenReader.tokens(one);
      },
    },
  });
});

const post = (body: object, headers: Record<string, string> = {}) =>
  request(createApp(deps)).post('/tokenize').set(headers).send(body);

const word = (text: string) => ({ id: text.length, text, special: false, start: null, stop: null });
const special = { id: 0, text: '[S]', special: true, start: null, stop: null };

describe('POST /tokenize', () => {
  it('answers a list of tokens for each text, as clients of Text Embeddings Inference read it', async () => {
    const { status, body, headers } = await post({ inputs: ['two words', ''] });
    expect([status, body]).toEqual([
      200,
      [
        [special, word('two'), word('words'), special],
        [special, special],
      ],
    ]);
    expect(headers['x-winnow-model']).toBe('tiny@1');
  });

  it('answers one list for a text alone, without special tokens where none are asked for', async () => {
    for (const no of [false, 'false', 'False'])
      expect((await post({ inputs: 'a "b\n', add_special_tokens: no })).body).toEqual([[word('a'), word('"b\n')]]);
  });

  it('takes null for every optional field', async () => {
    const body = { inputs: 'a', add_special_tokens: null, prompt_name: null, model: null };
    expect((await post(body)).body).toEqual([[special, word('a'), special]]);
    expect(asked[0]).not.toHaveProperty('model');
  });

  it('passes model, deadline and repaired texts on', async () => {
    const { headers } = await post({ inputs: ['a\0b'], model: 'tiny' }, { 'x-winnow-deadline-ms': '123' });
    expect(asked[0]).toMatchObject({ model: 'tiny', deadlineMs: 123, texts: ['ab'] });
    expect(headers['x-winnow-repaired']).toBe('1');
    await post({ inputs: 'a' });
    expect(asked[1]!.deadlineMs).toBe(deps.options.requestTimeoutMs);
  });

  it('names fields without effect', async () => {
    expect((await post({ inputs: 'a', truncate: true })).headers['x-winnow-ignored']).toBe('truncate');
  });

  it.each([
    [{ inputs: [] }, '400 expected at least 1 passage, got 0 (`inputs` cannot be empty)'],
    [{ inputs: ['a', 1] }, '422 expected a string, got 1 (number) (inputs[1])'],
    [{ inputs: 5 }, '422 expected a string or an array of strings, got 5 (number) (inputs)'],
    [{}, '422 expected a string or an array of strings, got nothing (inputs)'],
    [{ inputs: ['a '.repeat(60_000), 'b '.repeat(60_000)] }, '422 expected at most 100000 tokens, got more (inputs)'],
    [
      { inputs: 'a', prompt_name: 'query' },
      '422 expected null, because models here have no prompts, got "query" (string) (prompt_name)',
    ],
    [{ inputs: 'a', add_special_tokens: 'maybe' }, '(add_special_tokens)'],
    [{ inputs: 'a', model: 'nobody' }, '404 expected one of tiny, got model nobody'],
  ])('refuses %j', async (sent, message) => {
    const { status, body } = await post(sent);
    expect(`${status} ${(body as { message: string }).message}`).toContain(message);
    expect(body).toMatchObject({ error: expect.any(String), error_type: expect.any(String) });
  });

  it('refuses too many texts, and counts them against the budget of a minute', async () => {
    deps = fakeDeps({ options: { maxPassages: 3, passagesPerMinute: 4 } });
    const app = createApp(deps);
    const send = (count: number) =>
      request(app)
        .post('/tokenize')
        .send({ inputs: Array(count).fill('a') });
    expect((await send(4)).body.code).toBe('too_many_passages');
    expect((await send(3)).status).toBe(200);
    expect((await send(3)).body.code).toBe('rate_limited');
    expect(
      (
        await request(app)
          .post('/rerank')
          .send({ query: 'q', texts: ['a', 'b'] })
      ).body.code,
    ).toBe('rate_limited');
  });

  it('takes POST alone', async () => {
    expect((await request(createApp(deps)).get('/tokenize')).status).toBe(405);
  });

  it('writes many tokens in one answer', async () => {
    const words = Array.from({ length: 50_000 }, (_, i) => 'x'.repeat(1 + (i % 9)));
    const { body } = await post({ inputs: [words.join(' ')], add_special_tokens: false });
    expect((body as { text: string }[][])[0]!.map(({ text }) => text)).toEqual(words);
  });
});
