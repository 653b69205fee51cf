import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createApp } from '../../src/http/app.ts';
import { fakeDeps } from './fakes.ts';

const BODY = JSON.stringify({ query: 'q', texts: ['first passage', 'second passage'] });

/** Names outside ASCII, some of whose bytes look like white space or control characters of Latin-1. */
const NAMES = [
  'müller',
  'voilà',
  'à',
  'Дмитрий',
  '山田',
  'ñandú',
  'łukasz',
  'été\u0300',
  '🙂',
  '\ufeffbom',
  'a b',
  '1Å',
];

/** Starts the app, sends each header as the bytes given, and returns what the re-ranker was given. */
async function sent(headers: readonly Readonly<Record<string, Buffer>>[], deps = fakeDeps(), body = BODY) {
  const server = createApp(deps).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const answers: { status: number | undefined; headers: NodeJS.Dict<string | string[]> }[] = [];
  try {
    for (const one of headers) {
      const latin1 = Object.fromEntries(Object.entries(one).map(([name, bytes]) => [name, bytes.toString('latin1')]));
      const req = httpRequest({ port, host: '127.0.0.1', method: 'POST', path: '/rerank', headers: latin1 });
      req.setHeader('content-type', 'application/json');
      // A body as bytes: Node encodes headers like a body that is text.
      req.end(Buffer.from(body));
      const [res] = await once(req, 'response');
      res.resume();
      await once(res, 'end');
      answers.push({ status: res.statusCode, headers: res.headers });
    }
  } finally {
    server.close();
  }
  return { answers, subjects: deps.reranker.requests.map(({ subject }) => subject) };
}

describe('ids in headers', () => {
  it.each([
    ['x-user-id', 'user'],
    ['x-session-id', 'session'],
    ['x-winnow-unit', 'unit'],
  ] as const)('%s is read as UTF-8', async (header, field) => {
    const { subjects } = await sent(NAMES.map((name) => ({ [header]: Buffer.from(name) })));
    expect(subjects.map((subject) => subject?.[field])).toEqual(NAMES);
  });

  it('equal the same id in a body', async () => {
    const deps = fakeDeps();
    await sent([{ 'x-user-id': Buffer.from('müller') }], deps);
    await sent([{}], deps, JSON.stringify({ ...JSON.parse(BODY), user: 'müller' }));
    expect(deps.reranker.requests.map(({ subject }) => subject?.user)).toEqual(['müller', 'müller']);
  });

  it('are Latin-1 where they are not valid UTF-8', async () => {
    const cases = ['müller', 'à', '\u00c0\u00af', 'x\u00ff'];
    const { subjects } = await sent(cases.map((name) => ({ 'x-user-id': Buffer.from(name, 'latin1') })));
    expect(subjects.map((subject) => subject?.user)).toEqual(cases);
  });

  it('are not changed otherwise: percent-encoding, case and composition stay', async () => {
    const cases = ['m%C3%BCller', 'Müller', 'mu\u0308ller', '=?utf-8?q?m=C3=BCller?=', 'a+b'];
    const { subjects } = await sent(cases.map((name) => ({ 'x-user-id': Buffer.from(name) })));
    expect(subjects.map((subject) => subject?.user)).toEqual(cases);
  });

  it('keep every text that a header can carry', async () => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what a header cannot carry
    const carried = (text: string) => !/[\x00-\x1f\x7f]/.test(text) && text === text.replace(/^[ \t]+|[ \t]+$/g, '');
    const text = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
      .filter((t) => t.isWellFormed() && carried(t));
    const names = fc.sample(text, { numRuns: 100, seed: 7 });
    const { subjects } = await sent(names.map((name) => ({ 'x-user-id': Buffer.from(name) })));
    expect(subjects.map((subject) => subject?.user)).toEqual(names);
  });
});

describe('other headers', () => {
  it('that experiments target are read as UTF-8', async () => {
    const { subjects } = await sent([{ 'x-city': Buffer.from('Köln') }]);
    expect(subjects[0]?.headers?.['x-city']).toBe('Köln');
  });

  it('that carry a key may have a key outside ASCII', async () => {
    const keys = [{ name: 'k', hash: createHash('sha256').update('schlüssel').digest(), scopes: ['rerank'] as const }];
    const deps = { ...fakeDeps(), keys };
    const { answers } = await sent(
      [
        { authorization: Buffer.from('Bearer schlüssel') },
        { 'x-api-key': Buffer.from('schlüssel') },
        { 'x-api-key': Buffer.from('schlüssel', 'latin1') },
        { 'x-api-key': Buffer.from('schlussel') },
      ],
      deps,
    );
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 401]);
  });

  it('that answers echo stay valid: a request id outside ASCII is replaced', async () => {
    const ids = ['müller', '山田'].map((id) => ({
      'x-request-id': Buffer.from(id),
      tracestate: Buffer.from(`a=${id}`),
    }));
    const { answers } = await sent(ids);
    for (const { status, headers } of answers) {
      expect(status).toBe(200);
      expect(headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
    }
  });
});
