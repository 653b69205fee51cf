import fc from 'fast-check';
import request from 'supertest';
import { beforeEach, describe, expect, it } from 'vitest';
import { createApp } from '../../src/http/app.ts';
import { repairTexts } from '../../src/http/text-repair.ts';
import { type FakeDeps, fakeDeps } from './fakes.ts';

let deps: FakeDeps;
beforeEach(() => {
  deps = fakeDeps();
});
const post = (path: string, body: object) => request(createApp(deps)).post(path).send(body);

const BAD = ['fine', 'cut \ud83d', 'nul \u0000 inside', '\udc00\u0000', '😀'];
const GOOD = ['fine', 'cut \ufffd', 'nul  inside', '\ufffd', '😀'];
const QUERY = '\u0000who \udfff';

const BODIES: readonly (readonly [string, object])[] = [
  ['/rerank', { query: QUERY, texts: BAD, return_text: true }],
  ['/v1/rerank', { query: QUERY, documents: BAD, return_documents: true }],
  ['/v2/rerank', { query: QUERY, documents: BAD.map((text) => ({ text })), return_documents: true }],
  ['/rerank', { query: QUERY, documents: BAD, top_k: 5, return_documents: true }],
  ['/rerank', { query: QUERY, documents: BAD, property: 'p' }],
  ['/v1/ranking', { query: { text: QUERY }, passages: BAD.map((text) => ({ text })) }],
  ['/score', { text_1: QUERY, text_2: BAD }],
  ['/predict', { inputs: BAD.map((text) => [QUERY, text]) }],
  [
    '/v2/models/tiny/infer',
    {
      inputs: [
        { name: 'query', shape: [1], datatype: 'BYTES', data: [QUERY] },
        { name: 'passages', shape: [5], datatype: 'BYTES', data: BAD },
      ],
    },
  ],
];

describe('a bad character in a text', () => {
  it.each(BODIES)('costs that character at %s: %j', async (path, body) => {
    const answer = await post(path, body);
    expect(answer.status, answer.text).toBe(200);
    expect(deps.reranker.requests[0]).toMatchObject({ query: 'who \ufffd', passages: GOOD });
    expect(answer.headers['x-winnow-repaired']).toBe('4');
    const warnings = answer.body.meta?.warnings ?? answer.body.parameters?.warnings.split('; ');
    if (!Array.isArray(answer.body))
      expect(warnings).toEqual(['NUL or halves of characters were dropped or replaced in 4 texts']);
    // An answer with halves of characters does not parse everywhere.
    expect(answer.text).not.toMatch(/\\u(0000|d)/i);
  });

  it('leaves ids and other fields as they are', async () => {
    const documents = [{ text: 'a', id: 'x\u0000\ud800' }];
    const { body } = await post('/v1/rerank', { query: 'q', documents, return_documents: true });
    expect(body.results[0].document).toEqual({ text: 'a', id: 'x\u0000\ud800' });
  });

  it('is not reported where there is none', async () => {
    const { headers } = await post('/rerank', { query: 'q', texts: ['a'] });
    expect(headers).not.toHaveProperty('x-winnow-repaired');
  });
});

describe('repairTexts', () => {
  const repaired = async (query: string, passages: readonly string[]) => {
    const { requests, changed } = await repairTexts([{ query, passages }]);
    return { texts: [requests[0]!.query, ...requests[0]!.passages], changed };
  };

  it('replaces halves of characters, then drops NUL, and counts the texts', async () => {
    const unit = fc.constantFrom('a', '\0', '\ud83d', '\ude00', '😀', 'é');
    await fc.assert(
      fc.asyncProperty(fc.array(fc.string({ unit }), { minLength: 1 }), async (texts) => {
        const [query, ...passages] = texts as [string, ...string[]];
        const expected = texts.map((text) => text.toWellFormed().replaceAll('\0', ''));
        const changed = texts.filter((text, i) => text !== expected[i]).length;
        expect(await repaired(query, passages)).toEqual({ texts: expected, changed });
      }),
    );
  });

  it('repairs a long text in turns of the event loop', async () => {
    const text = `x${'😀'.repeat(40_000)}${'a\0'.repeat(2_000_000)}`;
    let turns = 0;
    const count = () => {
      turns++;
      timer = setImmediate(count);
    };
    let timer = setImmediate(count);
    const { texts, changed } = await repaired('q', [text]);
    clearImmediate(timer);
    expect(texts[1] === `x${'😀'.repeat(40_000)}${'a'.repeat(2_000_000)}`).toBe(true);
    expect(changed).toBe(1);
    expect(turns).toBeGreaterThan(1);
  });
});
