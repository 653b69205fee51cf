import { once } from 'node:events';
import type { IncomingMessage, Server } from 'node:http';
import { request } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { json as readJson } from 'node:stream/consumers';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { createApp } from '../../src/http/app.ts';
import { ByteAccount } from '../../src/http/byte-account.ts';
import type { HttpOptions } from '../../src/http/ports.ts';
import { createServer } from '../../src/http/server.ts';
import { fakeDeps } from './fakes.ts';

const MIB = 2 ** 20;
const SMALL = { query: 'q', texts: ['a', 'b'] };
/** An answer of some megabytes: it contains the documents. */
const LARGE = { query: 'q', documents: ['x'.repeat(6 * MIB)], return_documents: true };

let server: Server;
let port: number;
let bytes: ByteAccount;
let sockets: Socket[] = [];

async function listen(
  { totalBytes = 16 * MIB, maxConnections = 100, onDrop = () => {}, options = {} } = {} as {
    totalBytes?: number;
    maxConnections?: number;
    onDrop?: () => void;
    options?: Partial<HttpOptions>;
  },
): Promise<void> {
  bytes = new ByteAccount({ totalBytes });
  const deps = fakeDeps({ bytes, options: { bodyLimitBytes: 32 * MIB, bodyTimeoutMs: 20_000, ...options } });
  server = createServer(createApp(deps), { headerTimeoutMs: 20_000, bodyLimitBytes: 32 * MIB, maxConnections, onDrop });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
}

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets = [];
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

async function post(path: string, body: object | Buffer): Promise<{ status: number; body: { code?: string } }> {
  const packed = Buffer.isBuffer(body) ? body : gzipSync(JSON.stringify(body));
  const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip', connection: 'close' };
  const client = request({ method: 'POST', path, port, host: '127.0.0.1', headers });
  client.on('error', () => {});
  client.end(packed);
  const [response] = (await once(client, 'response')) as [IncomingMessage];
  return { status: response.statusCode ?? 0, body: (await readJson(response)) as { code?: string } };
}

/** A client that sends a request and never reads its answer. */
function postAndNeverRead(path: string, body: object): Socket {
  const packed = gzipSync(JSON.stringify(body));
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.pause();
  socket.write(
    `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: ${packed.length}\r\n\r\n`,
  );
  socket.write(packed);
  sockets.push(socket);
  return socket;
}

/** Waits until the account holds at least this many bytes. */
async function held(atLeast: number): Promise<void> {
  while (bytes.held < atLeast) await nextTurn();
}

describe('bytes in flight', () => {
  it('of clients that never read are bounded, and small requests are answered meanwhile', async () => {
    await listen();
    postAndNeverRead('/v1/rerank', LARGE);
    postAndNeverRead('/v1/rerank', LARGE);
    await held(12 * MIB);
    expect(await post('/v1/rerank', LARGE)).toMatchObject({ status: 429, body: { message: expect.any(String) } });
    expect(await post('/rerank', SMALL)).toMatchObject({ status: 200 });
    expect(bytes.held).toBeLessThanOrEqual(16 * MIB);
  });

  it('are released when clients disconnect', async () => {
    await listen();
    postAndNeverRead('/v1/rerank', LARGE);
    postAndNeverRead('/v1/rerank', LARGE);
    await held(12 * MIB);
    for (const socket of sockets) socket.destroy();
    while (bytes.held > 0) await nextTurn();
    expect(await post('/v1/rerank', LARGE)).toMatchObject({ status: 200 });
  });

  it('are released when a body is refused for any reason', async () => {
    await listen();
    const refused = await Promise.all([
      post('/rerank', gzipSync('['.repeat(20 * MIB))),
      post('/rerank', gzipSync(`[${'{},'.repeat(5 * MIB)}{}]`)),
      post('/rerank', gzipSync(`{${'"a":1,'.repeat(2 * MIB)}"a":1}`)),
      post('/rerank', gzipSync('{"query":')),
      post('/rerank', Buffer.from('not gzip')),
      post('/rerank', gzipSync(`{"query":"q","texts":${'['.repeat(4400)}${']'.repeat(4400)}}`)),
    ]);
    expect(refused.map(({ status, body }) => [status, body.code])).toEqual([
      [413, 'body_too_complex'],
      [413, 'body_too_complex'],
      [413, 'body_too_complex'],
      [400, 'malformed_json'],
      [400, 'malformed_json'],
      [413, 'body_too_complex'],
    ]);
    while (bytes.held > 0) await nextTurn();
  });

  it('of one compressible body within the limit are answered', async () => {
    await listen({ totalBytes: 64 * MIB });
    const answer = await post('/v1/rerank', { ...LARGE, documents: ['x'.repeat(30 * MIB)] });
    expect(answer.status).toBe(200);
  });
});

describe('connections', () => {
  it('of clients that read nothing are closed', async () => {
    await listen({ totalBytes: 64 * MIB, options: { writeTimeoutMs: 200 } });
    const socket = postAndNeverRead('/v1/rerank', { ...LARGE, documents: ['x'.repeat(20 * MIB)] });
    await held(20 * MIB);
    while (bytes.held > 0) await nextTurn();
    socket.resume();
    await once(socket, 'close');
  });

  it('beyond the limit are closed and counted', async () => {
    let dropped = 0;
    await listen({ maxConnections: 2, onDrop: () => dropped++ });
    const open = () => {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => {});
      sockets.push(socket);
      return socket;
    };
    await Promise.all([once(open(), 'connect'), once(open(), 'connect')]);
    while ((await connections()) < 2) await nextTurn();
    await once(open().resume(), 'close');
    expect(dropped).toBe(1);
  });
});

const connections = (): Promise<number> =>
  new Promise((resolve, reject) => server.getConnections((error, count) => (error ? reject(error) : resolve(count))));
