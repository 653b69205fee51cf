import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import request from 'supertest';
import { describe, expect, it } from 'vitest';
import { createApp } from '../../src/http/app.ts';
import { fakeDeps } from './fakes.ts';

const app = createApp(fakeDeps({ options: { bodyLimitBytes: 2_000_000, maxPassages: 10_000 } }));

const send = (text: string | Buffer, headers: Record<string, string> = {}, path = '/rerank') =>
  request(app)
    .post(path)
    .set({ 'content-type': 'application/json', ...headers })
    .serialize((body) => body)
    .send(text as string);

const json = (body: unknown, path?: string) => send(JSON.stringify(body), {}, path);

const LISTS = [
  ['/rerank', 'texts', (texts: unknown) => ({ query: 'q', texts })],
  ['/v1/rerank', 'documents', (documents: unknown) => ({ query: 'q', documents })],
  ['/v2/rerank', 'documents', (documents: unknown) => ({ query: 'q', documents })],
  ['/rerank', 'documents', (documents: unknown) => ({ query: 'q', documents, top_k: 3 })],
  ['/rerank', 'documents', (documents: unknown) => ({ query: 'q', documents, property: 'p' })],
  ['/v1/ranking', 'passages', (passages: unknown) => ({ query: { text: 'q' }, passages })],
  ['/score', 'text_2', (text_2: unknown) => ({ text_1: 'q', text_2 })],
] as const;

/** A passage as the dialect at `path` spells it. */
const spelt = (path: string, text: unknown) => (path === '/v1/ranking' ? { text } : text);

describe.each(LISTS)('a list of passages at %s (%s)', (path, field, body) => {
  it('without members is 400', async () => {
    const answer = await json(body([]), path);
    expect(answer.status).toBe(400);
    expect(answer.body).toMatchObject({ code: 'empty_passages', error_type: 'Empty' });
    expect(answer.body.message).toContain(`\`${field}\``);
  });

  it('above the limit is 422 and names both numbers', async () => {
    const answer = await json(body(new Array(10_001).fill(spelt(path, 'a'))), path);
    expect(answer.status).toBe(422);
    expect(answer.body.message).toBe(`expected at most 10000 passages, got 10001 (${field})`);
  });

  it('at the limit is answered', async () => {
    await json(body(new Array(10_000).fill(spelt(path, 'a'))), path).expect(200);
  });

  it.each([
    ['a number', 7, 'a string, got 7 (number)'],
    ['null', null, 'a string, got null'],
  ])('with %s is 422 and names the member', async (_what, text, message) => {
    if (field === 'documents' && typeof text !== 'string' && !JSON.stringify(body([])).match(/property/))
      message = message.replace('a string', 'a string or an object with `text`');
    const answer = await json(body([spelt(path, 'fine'), spelt(path, text)]), path);
    expect(answer.status).toBe(422);
    const member = path === '/v1/ranking' ? `${field}[1].text` : `${field}[1]`;
    expect(answer.body.message).toBe(`expected ${message} (${member})`);
  });

  it('of another type is 422', async () => {
    const answer = await json(body({ a: 1 }), path);
    expect(answer.status).toBe(422);
    expect(answer.body).toMatchObject({ code: 'invalid_field' });
    expect(answer.body.message).toContain(`(${field})`);
  });
});

describe('a body', () => {
  it.each(['{', '{"query":"a","texts":["b"', 'query=a&texts=b', '"a', '\u0000', '{"a":1,}', ''])(
    'that is no JSON is 400: %j',
    async (text) => {
      const answer = await send(text);
      expect(answer.status).toBe(400);
      expect(answer.body).toMatchObject({ code: 'malformed_json', error_type: 'Validation' });
    },
  );

  it('that is not UTF-8 is 400', async () => {
    const answer = await send(Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]));
    expect(answer.status).toBe(400);
    expect(answer.body.message).toContain('not UTF-8');
  });

  it('may begin with a byte order mark', async () => {
    await send(`\uFEFF${JSON.stringify({ query: 'q', texts: ['a'] })}`).expect(200);
  });

  it.each(['null', '7', '"text"', '[]', 'true'])('that is no object is 422: %s', async (text) => {
    const answer = await send(text);
    expect(answer.status).toBe(422);
    expect(answer.body.message).toMatch(/^expected an object, got .*\(body\)$/);
  });

  it.each<object>([{}, { query: 'q' }, { text: 'a' }, { __proto__: null, constructor: 1 }])(
    'without passages is 422 and says what may stand there: %j',
    async (body) => {
      const answer = await json(body);
      expect(answer.status).toBe(422);
      expect(answer.body.code).toBe('unknown_dialect');
      expect(answer.body.message).toContain('`texts`, `documents` or `passages`');
    },
  );

  it.each([
    [{ texts: ['a'] }, 'expected a string, got nothing (query)'],
    [{ query: 5, texts: ['a'] }, 'expected a string, got 5 (number) (query)'],
    [{ query: 'q', texts: ['a'], truncate: 'yes' }, 'expected a boolean, got "yes" (string) (truncate)'],
    [
      { query: 'q', texts: ['a'], truncation_direction: 'up' },
      'expected one of "right", "left", "Right", "Left", got "up" (string) (truncation_direction)',
    ],
    [{ query: 'q', documents: ['a'], top_n: -1 }, 'expected at least 0, got -1 (number) (top_n)'],
    [{ query: 'q', documents: ['a'], top_n: 1.5 }, 'expected an integer, got 1.5 (number) (top_n)'],
    [{ query: 'q', documents: ['a'], model: 7 }, 'expected a string, got 7 (number) (model)'],
    [
      { query: 'q', documents: ['a'], truncation: 'sometimes' },
      'expected a boolean, "longest_first" or "only_second", got "sometimes" (string) (truncation)',
    ],
    [
      { query: 'q', documents: ['a'], cascade: [{ model: 'm', keep: 0 }] },
      'expected at least 1, got 0 (number) (cascade[0].keep)',
    ],
    [{ query: 'q', documents: ['a'], rank_fields: ['a', 1] }, 'expected a string, got 1 (number) (rank_fields[1])'],
  ])('with a wrong field is 422: %j', async (body, message) => {
    const answer = await json(body);
    expect(answer.status).toBe(422);
    expect(answer.body).toMatchObject({ message, error: message, detail: message, code: 'invalid_field' });
  });

  it('of another type is 415', async () => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/json; charset=utf-16']) {
      const answer = await send('{}', { 'content-type': type });
      expect(answer.status).toBe(415);
      expect(answer.body.message).toBe(`expected content-type application/json, got ${type}`);
    }
    await send(JSON.stringify({ query: 'q', texts: ['a'] }), { 'content-type': 'application/vnd.api+json' }).expect(
      200,
    );
  });

  it('may be compressed', async () => {
    const body = Buffer.from(JSON.stringify({ query: 'q', texts: ['a', 'b'] }));
    await send(gzipSync(body), { 'content-encoding': 'gzip' }).expect(200);
    await send(deflateSync(body), { 'content-encoding': 'deflate' }).expect(200);
    await send(brotliCompressSync(body), { 'content-encoding': 'br' }).expect(200);
  });

  it('in an unknown or broken encoding is 415 or 400', async () => {
    await send('{}', { 'content-encoding': 'zstd' }).expect(415);
    const broken = await send('not gzip', { 'content-encoding': 'gzip' });
    expect(broken.status).toBe(400);
    expect(broken.body.code).toBe('malformed_json');
  });

  it('that unpacks to more than the limit is 413', async () => {
    const bomb = gzipSync(Buffer.alloc(50_000_000, 0x20));
    const answer = await send(bomb, { 'content-encoding': 'gzip' });
    expect(answer.status).toBe(413);
    expect(answer.body.code).toBe('body_too_large');
  });

  it('of 50 MB is 413', async () => {
    const answer = await send(Buffer.alloc(50_000_000, 0x20));
    expect(answer.status).toBe(413);
    expect(answer.body.message).toBe('expected a body of at most 2000000 bytes, got 50000000');
    await json({ query: 'q', texts: ['a'] }).expect(200);
  });

  it('nested a hundred thousand deep is a client error', async () => {
    const deep = `{"query":"q","texts":["a"],"x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
    expect((await send(deep)).status).toBeLessThan(500);
  });

  it('with hostile field names is read like any other', async () => {
    await send('{"query":"q","texts":["a"],"__proto__":{"admin":true},"constructor":{"prototype":1}}').expect(200);
    await send('{"query":"q","documents":[{"__proto__":{"text":"x"}}]}').expect(422);
    await send('{"query":"q","documents":[{"text":"x"}],"rank_fields":["__proto__","toString"]}').expect(422);
  });
});

describe('headers', () => {
  it.each([
    ['x-winnow-deadline-ms', '0'],
    ['x-winnow-deadline-ms', 'soon'],
    ['x-winnow-deadline-ms', '1e3'],
    ['x-winnow-deadline-ms', '99999999'],
    ['x-winnow-lane', 'shadow'],
    ['x-winnow-lane', '__proto__'],
  ])('%s: %s is 422', async (name, value) => {
    const answer = await send(JSON.stringify({ query: 'q', texts: ['a'] }), { [name]: value });
    expect(answer.status).toBe(422);
    expect(answer.body.message).toContain(`(header ${name})`);
  });
});

describe('routes', () => {
  it('that are unknown are 404', async () => {
    const answer = await request(app).get('/nowhere');
    expect(answer.status).toBe(404);
    expect(answer.body).toMatchObject({ code: 'not_found' });
    expect(answer.body.message).toMatch(
      /^expected a known route, got GET \/nowhere; passages are scored by POST .*\/v1\/rerank/,
    );
  });

  it('with another method are 405 and name the allowed ones', async () => {
    const answer = await request(app).get('/rerank');
    expect(answer.status).toBe(405);
    expect(answer.headers.allow).toBe('POST');
    await request(app).delete('/v1/models').expect(405);
  });

  it('with broken escapes in the path are 422', async () => {
    const answer = await request(app).get('/v1/models/%E0%A4%A');
    expect(answer.status).toBe(422);
    expect(answer.body.message).toContain('(path)');
  });
});
