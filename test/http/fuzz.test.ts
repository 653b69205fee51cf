import { once } from 'node:events';
import { Agent, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text as readText } from 'node:stream/consumers';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApp } from '../../src/http/app.ts';
import { createServer } from '../../src/http/server.ts';
import { fakeDeps } from './fakes.ts';
import { binaryTensors, type FuzzRequest, OPERATIONS, requestsTo, shown } from './fuzz-api.ts';

/** Requests to each operation with a body; FUZZ_RUNS and FUZZ_SEED change their number and choice. */
const RUNS = Number(process.env.FUZZ_RUNS ?? 60);
const SEED = Number(process.env.FUZZ_SEED ?? 20_261_123);

let server: Server;
let port: number;
const agent = new Agent({ keepAlive: true, maxSockets: 4 });
const deps = fakeDeps({ options: { bodyLimitBytes: 1_000_000 } });

beforeAll(async () => {
  server = createServer(createApp(deps), { headerTimeoutMs: 20_000, bodyLimitBytes: 1_000_000 }).listen(0);
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
});
afterAll(() => {
  agent.destroy();
  server.closeAllConnections();
  server.close();
});

async function send({ method, path, body, headers }: FuzzRequest): Promise<{ status: number; text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>();
  const length = body ? { 'content-length': String(body.length) } : {};
  const client = request({ port, method, path, agent, headers: { ...headers, ...length } }, (response) => {
    readText(response).then((text) => resolve({ status: response.statusCode ?? 0, text }), reject);
  });
  client.on('error', reject);
  client.end(body);
  return await promise;
}

/** Checks that an error has a code and is a client error. */
function check({ status, text }: { status: number; text: string }, sent: FuzzRequest): void {
  if (sent.path.endsWith('/ready') && status === 503) return;
  expect(status, shown(sent)).toBeLessThan(500);
  if (status < 400) return;
  const body = JSON.parse(text) as Record<string, unknown>;
  expect(body.code).toBeTypeOf('string');
  expect(body.message).toBeTypeOf('string');
  expect(body.request_id).toBeTypeOf('string');
}

describe('no request causes a server error', () => {
  it.each(OPERATIONS.map((operation) => [operation.name, operation] as const))('%s', async (_name, operation) => {
    const seen = new Set<number>();
    await fc.assert(
      fc.asyncProperty(requestsTo(operation), async (sent) => {
        const answer = await send(sent);
        seen.add(answer.status);
        check(answer, sent);
      }),
      { numRuns: operation.body ? RUNS : Math.ceil(RUNS / 6), seed: SEED },
    );
    // The generator is wrong if all requests fail, or none does.
    if (operation.body) expect(seen.size).toBeGreaterThan(1);
  });

  it('POST /v2/models/{model}/infer with binary tensors', async () => {
    const seen = new Set<number>();
    await fc.assert(
      fc.asyncProperty(binaryTensors, async (sent) => {
        const answer = await send(sent);
        seen.add(answer.status);
        if (answer.status >= 400) check(answer, sent);
      }),
      { numRuns: 4 * RUNS, seed: SEED },
    );
    expect(seen.size).toBeGreaterThan(1);
  });

  it('and the log has none', () => {
    expect(deps.telemetry.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });
});
