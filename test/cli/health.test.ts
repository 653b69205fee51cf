import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { winnow } from '../support/command.ts';

/** Runs the command; a check whose answer is no sets the exit code of this process. */
async function health(...flags: string[]) {
  const { code, ...printed } = await winnow('health', ...flags);
  const said = process.exitCode ?? code;
  process.exitCode = undefined;
  return { code: said, ...printed };
}

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

/** Listens on a free port of one address and returns the port. */
async function listen(listener: RequestListener, host = '127.0.0.1'): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((done) => server.listen(0, host, done));
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return String((server.address() as AddressInfo).port);
}

const answer: RequestListener = (request, response) => {
  const isReady = request.url === '/health/live';
  response
    .writeHead(isReady ? 200 : 503)
    .end(isReady ? '{"status":"live"}' : '{"status":"not ready","reason":"no model"}');
};

describe('winnow health', () => {
  it('asks the port of the same settings as serve, and ends with 0 or 1', async () => {
    const port = await listen(answer);
    const asked = await health('--server-port', port, '--server-host', '127.0.0.1', '--live');
    expect(asked).toMatchObject({ code: 0, output: `http://127.0.0.1:${port}/health/live  {"status":"live"}\n` });
    expect(await health('--port', port)).toMatchObject({
      code: 1,
      output: `http://127.0.0.1:${port}/health/ready  {"status":"not ready","reason":"no model"}\n`,
    });
  });

  it('finds a server that listens on IPv6 alone', async () => {
    const port = await listen(answer, '::1');
    expect(await health('--port', port, '--live')).toMatchObject({
      code: 0,
      output: `http://[::1]:${port}/health/live  {"status":"live"}\n`,
    });
  });

  it('ends with 1 where nothing listens, and where no answer comes', async () => {
    expect(await health('--port', '1', '--server-host', '::1')).toMatchObject({
      code: 1,
      output: expect.stringContaining('http://[::1]:1/health/ready  no answer: '),
    });
    const port = await listen(() => undefined);
    const silent = await health('--port', port, '--timeout-ms', '50');
    expect(silent).toMatchObject({ code: 1, output: expect.stringContaining('timeout') });
  });

  it.each([
    [['--server-prt', '1'], '--server-prt: expected a known flag'],
    [['--timeout-ms', '0'], "option '--timeout-ms <ms>': expected a whole number from 1 to 60000, got 0"],
    [['--port', 'x'], '--port: '],
  ])('refuses %j with 2', async (flags, error) => {
    expect(await health(...flags)).toMatchObject({ code: 2, error: expect.stringContaining(error) });
  });
});
