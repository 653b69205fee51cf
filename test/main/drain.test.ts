import { once } from 'node:events';
import { Agent, createServer, get, type RequestListener } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { trackRequests } from '../../src/main/drain.ts';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function listening(handler: RequestListener) {
  const server = createServer(handler);
  const drain = trackRequests(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  closers.push(() => server.closeAllConnections());
  return { server, drain, port };
}

/** Status of a GET, over a connection that is kept. */
async function statusOf(port: number, agent: Agent): Promise<number | undefined> {
  const [response] = await once(get({ port, host: '127.0.0.1', agent }), 'response');
  response.resume();
  await once(response, 'end');
  return response.statusCode;
}

describe('drain', () => {
  it('answers what was accepted, and refuses new connections', async () => {
    const reached = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const { drain, port } = await listening(async (_request, response) => {
      reached.resolve();
      await release.promise;
      response.end('done');
    });
    const agent = new Agent({ keepAlive: true });
    const answer = statusOf(port, agent);
    await reached.promise;
    expect(drain.inFlight()).toBe(1);
    const ended = drain.run(10_000, 0);
    const [refusal] = await once(connect(port, '127.0.0.1'), 'error');
    expect(refusal.code).toBe('ECONNREFUSED');
    release.resolve();
    expect(await answer).toBe(200);
    expect(await ended).toBe(0);
    agent.destroy();
  });

  it('serves a kept connection until the grace is over', async () => {
    const { drain, port } = await listening((_request, response) => void response.end('ok'));
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    expect(await statusOf(port, agent)).toBe(200);
    const ended = drain.run(10_000, 200);
    expect(await statusOf(port, agent)).toBe(200);
    expect(await ended).toBe(0);
    agent.destroy();
  });

  it('counts what it had to cut off', async () => {
    const reached = Promise.withResolvers<void>();
    const { drain, port } = await listening(() => reached.resolve());
    const agent = new Agent({ keepAlive: true });
    const answer = statusOf(port, agent).catch((error: NodeJS.ErrnoException) => error.code);
    await reached.promise;
    expect(await drain.run(1, 0)).toBe(1);
    expect(await answer).toBe('ECONNRESET');
    agent.destroy();
  });
});
