import { createHash, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text as readText } from 'node:stream/consumers';
import type { Drill, Target } from '../harness/drill.ts';

type Headers = Readonly<Record<string, string>>;

const RERANK = JSON.stringify({ query: 'q', texts: ['a', 'b'] });
const OUTCOME = JSON.stringify({ request_id: 'nobody', metric: 'clicks' });

/** Routes that a page must not reach: method, path, body. */
const ROUTES: readonly (readonly [method: string, path: string, body: string])[] = [
  ['POST', '/rerank', RERANK],
  ['POST', '/v1/outcomes', OUTCOME],
  ['POST', '/v2/repository/index', '{}'],
  ['POST', '/v2/repository/models/base/load', '{}'],
  ['POST', '/v2/repository/models/base/unload', '{}'],
  ['PUT', '/v1/models/base/labels/stable', '{"version":"1"}'],
  ['PUT', '/v1/experiments/evil', '{}'],
  ['DELETE', '/v1/experiments/evil', ''],
  ['GET', '/v1/models', ''],
  ['GET', '/v1/experiments', ''],
  ['GET', '/console/api/session', ''],
];

/** What a browser sends for a page of another site. */
const CROSS_SITE: readonly Headers[] = [
  { origin: 'https://evil.example' },
  { origin: 'null' },
  { origin: 'http://localhost.evil.example' },
  { origin: 'http://127.0.0.1:1' },
  { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' },
  { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' },
];

/** Names that a page points to loopback. */
const REBOUND = [
  'evil.example',
  'evil.example.',
  'evil.example:80',
  'localhost.evil.example',
  '127.0.0.1.evil.example',
  'localhost@evil',
];

/** Names of one label, as sidecars and docker-compose services have them. */
const ONE_LABEL = ['localhost', 'x', 'winnow:8080', 'winnow.'];

const FORMS = ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'];

interface Wire {
  readonly method: string;
  readonly path: string;
  readonly headers?: Headers;
  readonly body?: string;
  /** Address of this machine to send from. */
  readonly from?: string;
}

/** Sends one request with exactly these headers; the status, 0 without an answer. */
async function send(url: string, { method, path, headers = {}, body = '', from = '127.0.0.1' }: Wire): Promise<number> {
  const { hostname, port } = new URL(url);
  const socket = connect({ port: Number(port), host: hostname, localAddress: from });
  socket.on('error', () => {});
  const all = {
    host: `${hostname}:${port}`,
    ...(body === '' ? {} : { 'content-type': 'application/json' }),
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`);
  const text = await readText(socket).catch(() => '');
  return Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0);
}

/** What pages of other sites can make a browser do, each with the statuses that refuse it. */
function attempts(): readonly (readonly [what: string, wire: Wire, refusals: readonly number[]])[] {
  const all: [string, Wire, readonly number[]][] = [];
  for (const [method, path, body] of ROUTES) {
    for (const headers of CROSS_SITE) all.push([JSON.stringify(headers), { method, path, body, headers }, [403]]);
    for (const host of REBOUND) all.push([`host ${host}`, { method, path, body, headers: { host } }, [403]]);
    if (method !== 'POST') continue;
    for (const type of FORMS)
      for (const content of [body, ''])
        all.push([
          `${type}, ${content.length} bytes`,
          { method, path, body: content, headers: { 'content-type': type } },
          [400, 415],
        ]);
  }
  return all;
}

async function versionsAt(url: string): Promise<string> {
  const { data } = (await (await fetch(`${url}/v1/models`)).json()) as {
    data: { id: string; state: string; labels: string[] }[];
  };
  return JSON.stringify(data.map(({ id, state, labels }) => [id, state, labels]));
}

/** Sends wrong keys from one address; a good key from another has to be answered meanwhile. */
async function guessKeys({ folder, start }: Target, count: number): Promise<readonly string[]> {
  const good = randomBytes(16).toString('hex');
  const file = join(folder, 'keys.yaml');
  writeFileSync(file, `keys:\n  - {name: good, sha256: ${createHash('sha256').update(good).digest('hex')}}\n`);
  const server = await start({ env: { WINNOW_AUTH_KEYS_FILE: file, WINNOW_AUTH_REQUESTS_PER_MINUTE: '600' } });
  const rerank = (key: string, from: string) =>
    send(server.url, {
      method: 'POST',
      path: '/rerank',
      body: RERANK,
      headers: { authorization: `Bearer ${key}` },
      from,
    });
  const failures: string[] = [];
  const seen = new Map<number, number>();
  for (let sent = 0; sent < count; sent += 20) {
    const statuses = await Promise.all(
      Array.from({ length: 20 }, () => rerank(randomBytes(16).toString('hex'), '127.0.0.2')),
    );
    for (const status of statuses) seen.set(status, (seen.get(status) ?? 0) + 1);
    const answered = await rerank(good, '127.0.0.1');
    if (answered !== 200) failures.push(`a good key from another address got ${answered}`);
  }
  const others = [...seen.keys()].filter((status) => status !== 401 && status !== 429);
  if (others.length > 0) failures.push(`wrong keys got ${others.join(', ')}`);
  if ((seen.get(401) ?? 0) > 60)
    failures.push(`expected at most 60 wrong keys to be looked at in a minute, got ${seen.get(401)}`);
  return failures;
}

export const browser: Drill = {
  name: 'browser',
  attack: 'requests of pages of other sites, DNS rebinding, forms, and wrong keys at rate',
  async run(target, scale) {
    const { server } = target;
    const failures: string[] = [];
    const before = await versionsAt(server.url);
    let tries = 0;
    for (let round = 0; round < scale; round++)
      for (const [what, wire, refusals] of attempts()) {
        tries++;
        const status = await send(server.url, wire);
        if (!refusals.includes(status)) failures.push(`${wire.method} ${wire.path} with ${what}: ${status}`);
      }
    if ((await versionsAt(server.url)) !== before) failures.push('the models changed');
    for (const host of ONE_LABEL) {
      const status = await send(server.url, { method: 'POST', path: '/rerank', body: RERANK, headers: { host } });
      if (status !== 200) failures.push(`a client that calls ${host} got ${status}`);
    }
    const guesses = 200 * scale;
    failures.push(...(await guessKeys(target, guesses)));
    return { tries: tries + guesses, failures, seen: `${tries} requests of other sites, ${guesses} wrong keys` };
  },
};
