import { once } from 'node:events';
import { Agent, type IncomingMessage, request, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { json as readJson, text as readText } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createApp } from '../../src/http/app.ts';
import { createServer } from '../../src/http/server.ts';
import { type FakeDeps, fakeDeps } from './fakes.ts';

const LIMIT = 1_000_000;
const BODY = JSON.stringify({ query: 'q', texts: ['a', 'b'] });

let server: Server;
let deps: FakeDeps;
let port: number;

async function listen(headerTimeoutMs: number, bodyTimeoutMs: number): Promise<void> {
  deps = fakeDeps({ options: { bodyLimitBytes: LIMIT, bodyTimeoutMs } });
  server = createServer(createApp(deps), { headerTimeoutMs, bodyLimitBytes: LIMIT }).listen(0);
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
}

beforeEach(() => listen(5000, 5000));
afterEach(async () => {
  server.closeAllConnections();
  if (server.listening) await new Promise((resolve) => server.close(resolve));
});

/** Sends bytes and returns everything the server answers until it closes the connection. */
async function raw(...parts: readonly string[]): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  for (const part of parts) socket.write(part);
  return await readText(socket);
}

function parseAnswer(answer: string): { readonly status: number; readonly body: Record<string, unknown> } {
  const [head = '', body = ''] = answer.split('\r\n\r\n');
  return { status: Number(head.split(' ')[1]), body: JSON.parse(body) as Record<string, unknown> };
}

const POST = { method: 'POST', path: '/rerank', headers: { 'content-type': 'application/json' } };

async function answerOf(
  client: ReturnType<typeof request>,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const [response] = (await once(client, 'response')) as [IncomingMessage];
  return { status: response.statusCode ?? 0, body: (await readJson(response)) as Record<string, unknown> };
}

describe('requests that are not HTTP', () => {
  it.each([
    'nonsense\r\n\r\n',
    'GET / HTTP/9.9\r\n\r\n',
    'POST /rerank HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n',
  ])('get a JSON error: %j', async (text) => {
    const { status, body } = parseAnswer(await raw(text));
    expect(status).toBe(400);
    expect(body).toMatchObject({ code: 'malformed_http', error_type: 'Validation' });
  });

  it('with too long headers are 431', async () => {
    const { status, body } = parseAnswer(
      await raw(`GET / HTTP/1.1\r\nhost: a\r\nx-long: ${'a'.repeat(20_000)}\r\n\r\n`),
    );
    expect(status).toBe(431);
    expect(body.code).toBe('headers_too_large');
  });
});

describe('bodies', () => {
  it('without an announced length are counted', async () => {
    const client = request({ port, ...POST });
    client.write('{"query":"q","texts":["');
    for (let i = 0; i < 20; i++) client.write('a'.repeat(100_000));
    client.end('"]}');
    const { status, body } = await answerOf(client);
    expect(status).toBe(413);
    expect(body.code).toBe('body_too_large');
  });

  it('of 50 MB leave the connection usable', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const big = request({ port, ...POST, agent });
    big.end(Buffer.alloc(50_000_000, 0x20));
    expect((await answerOf(big)).status).toBe(413);
    const next = request({ port, ...POST, agent });
    next.end(BODY);
    expect((await answerOf(next)).status).toBe(200);
    expect(next.reusedSocket).toBe(true);
    agent.destroy();
  });

  it('that would be refused are not requested', async () => {
    const client = request({
      port,
      ...POST,
      headers: { ...POST.headers, expect: '100-continue', 'content-length': 50_000_000 },
    });
    let asked = false;
    client.on('continue', () => {
      asked = true;
    });
    client.flushHeaders();
    expect((await answerOf(client)).status).toBe(413);
    expect(asked).toBe(false);
    client.destroy();
  });

  it('that would be accepted are requested', async () => {
    const client = request({
      port,
      ...POST,
      headers: { ...POST.headers, expect: '100-continue', 'content-length': Buffer.byteLength(BODY) },
    });
    client.flushHeaders();
    await once(client, 'continue');
    client.end(BODY);
    expect((await answerOf(client)).status).toBe(200);
  });

  it("of Triton's clients need no content type, those of others do", async () => {
    const load = request({ port, method: 'POST', path: '/v2/repository/models/tiny/load' });
    load.end('{"parameters":{"version":"1"}}');
    expect((await answerOf(load)).status).toBe(200);
    expect(deps.registry.calls).toEqual(['load tiny@1']);
    const untyped = request({ port, method: 'POST', path: '/rerank' });
    untyped.end(BODY);
    expect(await answerOf(untyped)).toMatchObject({ status: 415, body: { code: 'unsupported_media_type' } });
  });

  it('cut short by the client are not an error of the server', async () => {
    const reported = Promise.withResolvers<void>();
    const { onRequest } = deps.telemetry;
    Object.assign(deps.telemetry, {
      onRequest: (event: Parameters<typeof onRequest>[0]) => {
        onRequest(event);
        reported.resolve();
      },
    });
    const socket = connect(port, '127.0.0.1');
    socket.write(
      'POST /rerank HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"query"',
    );
    server.once('request', () => socket.destroy());
    await reported.promise;
    expect(deps.telemetry.events).toMatchObject([{ status: 499, code: 'client_closed' }]);
    expect(deps.telemetry.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });
});

describe('slow clients', () => {
  beforeEach(async () => {
    await new Promise((resolve) => server.close(resolve));
    await listen(200, 200);
  });

  it('that do not finish their body are 408, and lose the connection', async () => {
    const text = await raw(
      'POST /rerank HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"query"',
    );
    expect(parseAnswer(text)).toMatchObject({ status: 408, body: { code: 'request_timeout', error_type: 'Timeout' } });
  });

  it('that do not finish their headers are 408', async () => {
    const text = await raw('POST /rerank HTTP/1.1\r\nhost: a\r\n');
    expect(parseAnswer(text)).toMatchObject({ status: 408, body: { code: 'request_timeout' } });
  });
});
