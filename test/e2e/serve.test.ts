import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createNetServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ServerProcess, startServerProcess } from '../../bench/load/server.ts';
import { loadConfig } from '../../src/config/load-config.ts';
import { settings } from '../../src/config/setting-list.ts';
import { startServer } from '../../src/main/server.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { SHIPPED } from '../support/shipped.ts';
import { FLEAS, ROOT, Scratch } from './support.ts';

const scratch = new Scratch();
afterAll(() => scratch.clear());

const run = async (program: string, args: readonly string[], env: Record<string, string> = {}) => {
  const options = { cwd: ROOT, env: { ...process.env, ...env } };
  return promisify(execFile)(program, args, options).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (failure: { code: number; stdout: string; stderr: string }) => failure,
  );
};
const rerank = (url: string, headers: Record<string, string> = {}) =>
  fetch(`${url}/rerank`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ query: FLEAS.query, texts: FLEAS.passages }),
  });

describe('the command line', () => {
  it('winnow serve --help prints every setting', async () => {
    const { code, stdout } = await run(process.execPath, ['bin/winnow.mjs', 'serve', '--help']);
    expect(code).toBe(0);
    for (const { flag, env } of settings()) {
      expect(stdout).toContain(flag);
      expect(stdout).toContain(env);
    }
  });

  it('--print-config prints what is in effect and hides secrets', async () => {
    const env = { PORT: '9191', WINNOW_EXPERIMENTS_DATABASE: 'postgres://u:hunter2@db/x' };
    const { code, stdout } = await run(process.execPath, ['src/main/server.ts', '--print-config'], env);
    expect(code).toBe(0);
    expect(stdout).toContain('port: 9191');
    expect(stdout).not.toContain('hunter2');
  });

  it('faults of the settings come all at once, with exit code 2', async () => {
    const flags = ['--port', 'many', '--modles', 'x', '--inference-provider', 'tpu'];
    const { code, stderr } = await run(process.execPath, ['src/main/server.ts', ...flags], {
      WINNOW_SERVER_DRAIN_MS: '-3',
    });
    expect(code).toBe(2);
    expect(stderr).toContain('4 fault(s)');
    for (const part of ['--port', 'did you mean --models?', 'WINNOW_SERVER_DRAIN_MS', 'one of auto, cuda, webgpu, cpu'])
      expect(stderr).toContain(part);
  });

  it('faults of what the settings point to come all at once, too', async () => {
    const taken = createNetServer();
    await once(taken.listen(0, '127.0.0.1'), 'listening');
    const keys = join(scratch.make(), 'keys.yaml');
    writeFileSync(keys, 'keys: [{name: a, sha256: short}, {name: a, sha256: short}]');
    const { port } = taken.address() as AddressInfo;
    const flags = ['--host', '127.0.0.1', '--port', String(port), '--auth-keys-file', keys, '--models', scratch.make()];
    const { code, stderr } = await run(process.execPath, ['src/main/server.ts', ...flags]);
    taken.close();
    expect(code).toBe(2);
    expect(stderr).toContain('EADDRINUSE');
    expect(stderr).toContain('64 hex digits');
  });

  it('a file that says what is released or tried, and cannot be read, ends the start: nothing else is served instead', async () => {
    const models = scratch.registry('1', '2');
    const [labels, standard] = [join(models, 'm', 'labels.json'), join(models, 'default.json')];
    const experiments = join(scratch.make(), 'experiments.yaml');
    const start = () =>
      run(process.execPath, ['src/main/server.ts', '--port', '0', '--models', models, '--experiments', experiments]);
    for (const text of ['', 'experiments: [{name: x']) {
      writeFileSync(experiments, text);
      const { code, stderr } = await start();
      expect([code, stderr]).toEqual([2, expect.stringContaining(`${experiments}: experiments.yaml: expected `)]);
      expect(stderr).toContain('correct it');
    }
    for (const text of ['', '{"stable": ', '[]']) {
      for (const file of [labels, standard]) writeFileSync(file, text);
      const { code, stderr } = await start();
      expect(code).toBe(2);
      expect(stderr).toContain('3 fault(s)');
      for (const file of [labels, standard]) expect(stderr).toContain(`${file}: `);
      expect(stderr).toContain('correct or remove it');
    }
  });
});

describe('a start whose experiment database cannot be used', () => {
  const folder = () => scratch.make();
  const file = (text: string) => {
    const path = join(folder(), 'experiments.sqlite');
    writeFileSync(path, text);
    return path;
  };
  const empty = 'a file that is no database, and is long enough to be one, for a header has a hundred bytes '.repeat(9);
  const withEmptyKey = () => {
    const path = join(folder(), 'experiments.sqlite');
    writeFileSync(`${path}.key`, '');
    return path;
  };

  it.each<[string, () => string, string]>([
    ['a folder', folder, 'a SQLite file that can be opened and written'],
    ['below a file', () => join(file('x'), 'sub', 'e.sqlite'), 'a SQLite file that can be opened and written'],
    ['no database', () => file(empty), 'file is not a database'],
    ['a database with an empty key file', withEmptyKey, 'expected the key of the unit hashes, got an empty file'],
    ['another scheme', () => 'mysql://u:hunter2@db/x', 'a URL that begins with postgres://, got mysql://'],
    ['a URL for SQLite', () => 'sqlite:///runs/x.sqlite', 'the path of a SQLite file'],
    ['a URL without its slashes', () => 'postgres:u:hunter2@db/x', 'begins with postgres://'],
    [
      'a port that is none',
      () => 'postgres://u:hunter2@db:many/x',
      'postgres://user@host:5432/database, got a malformed',
    ],
    ['a certificate that is not there', () => 'postgres://u:hunter2@db/x?sslrootcert=/no/where', '/no/where'],
  ])('%s ends with 2 and says so, without the password', async (_, target, expected) => {
    const flags = ['--port', '0', '--models', scratch.make(), '--experiments-database', target()];
    const { code, stderr } = await run(process.execPath, ['src/main/server.ts', ...flags]);
    expect([code, stderr]).toEqual([2, expect.stringContaining(expected)]);
    expect(stderr).toContain('experiments.database: expected');
    expect(stderr).not.toContain('hunter2');
  });
});

describe('npm start', () => {
  it('honors WINNOW_MODELS and flags, and drains on SIGTERM', async () => {
    const server = await startServerProcess({
      command: ['npm', 'start', '--silent', '--'],
      env: { WINNOW_MODELS: scratch.registry('7') },
    });
    const { data } = (await (await fetch(`${server.url}/v1/models`)).json()) as { data: { id: string }[] };
    expect(data.map(({ id }) => id)).toEqual(['m', 'm:stable', 'm@7']);
    // The signal goes to npm: it must reach the server, and the server's exit code must come back.
    expect(await server.stop()).toBe(0);
    expect(server.log.find(({ msg }) => msg === 'closed')).toMatchObject({ lost: 0 });
  });

  it('honors PORT', async () => {
    const probe = createNetServer();
    await once(probe.listen(0), 'listening');
    const { port } = probe.address() as AddressInfo;
    await new Promise((done) => probe.close(done));
    const env = { ...process.env, PORT: String(port), WINNOW_MODELS: scratch.make() };
    const child = spawn(process.execPath, ['src/main/server.ts'], {
      cwd: ROOT,
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    for await (const chunk of child.stdout) if (String(chunk).includes('"listening"')) break;
    expect((await fetch(`http://127.0.0.1:${port}/health/live`)).status).toBe(200);
    child.kill('SIGTERM');
    expect((await once(child, 'exit'))[0]).toBe(0);
  });
});

describe('a server whose registry is empty', () => {
  it('is live and not ready, and becomes ready when a model is published', async () => {
    const registry = scratch.make();
    const server = await startServerProcess({ flags: ['--models', registry], unready: true });
    expect((await fetch(`${server.url}/health/live`)).status).toBe(200);
    await server.logged(({ msg, ready }) => msg === 'readiness' && ready === false);
    const notReady = await fetch(`${server.url}/health/ready`);
    expect(notReady.status).toBe(503);
    expect(await notReady.text()).toContain('no model');
    expect((await rerank(server.url)).status).toBe(503);
    mkdirSync(join(registry, '.new'));
    cpSync(SHIPPED, join(registry, '.new', '1'), { recursive: true });
    renameSync(join(registry, '.new'), join(registry, 'late'));
    while ((await fetch(`${server.url}/health/ready`)).status !== 200);
    expect((await rerank(server.url)).status).toBe(200);
    expect(await server.stop()).toBe(0);
  });
});

describe('a running server', () => {
  const traces: { name: string; traceId: string; parentSpanId?: string }[] = [];
  const collector = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      for (const { scopeSpans } of JSON.parse(Buffer.concat(chunks).toString()).resourceSpans)
        for (const { spans } of scopeSpans) traces.push(...spans);
      response.end('{}');
    });
  });
  let server: ServerProcess;
  beforeAll(async () => {
    await once(collector.listen(0, '127.0.0.1'), 'listening');
    const endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
    const flags = ['--models', scratch.registry('1'), '--telemetry-otlp-endpoint', endpoint];
    server = await startServerProcess({ flags });
  });
  afterAll(async () => {
    await server?.stop();
    collector.close();
  });

  it('exports the trace a caller began, with the stages of the request', async () => {
    const [trace, span] = ['4bf92f3577b34da6a3ce929d0e0e4736', '00f067aa0ba902b7'];
    const answer = await rerank(server.url, { traceparent: `00-${trace}-${span}-01` });
    expect(answer.headers.get('traceparent')).toMatch(new RegExp(`^00-${trace}-[0-9a-f]{16}-01$`));
    while (traces.filter(({ traceId }) => traceId === trace).length < 4) await fetch(`${server.url}/health/live`);
    const mine = traces.filter(({ traceId }) => traceId === trace);
    const root = mine.find(({ parentSpanId }) => parentSpanId === span);
    expect(root).toBeDefined();
    expect(mine.map(({ name }) => name)).toEqual(expect.arrayContaining(['tokenize', 'queue', 'infer']));
  });

  it('counts what it did', async () => {
    await (await rerank(server.url)).text();
    const labels = 'model="m",version="1",dialect="tei",lane="interactive"';
    expect(await server.metric(`winnow_requests_total{${labels},status="200"}`)).toBeGreaterThanOrEqual(1);
    expect(await server.metric('winnow_ready')).toBe(1);
    expect(await server.metric('winnow_model_info{model="m",version="1",variant="int8",provider="cpu"}')).toBe(1);
    expect(await server.metric('winnow_cache_misses_total{cache="tokens"}')).toBeGreaterThan(0);
  });

  it('warns that it has no keys', () => {
    expect(server.log.filter(({ setting }) => setting === 'auth.keysFile')).toMatchObject([
      { level: 'warn', msg: expect.stringContaining('admin routes answer this machine only') },
    ]);
  });

  it('never logs text of a query or a passage', async () => {
    await (await rerank(server.url)).text();
    const bad = { method: 'POST', headers: { 'content-type': 'application/json' } };
    await (
      await fetch(`${server.url}/rerank`, { ...bad, body: `{"query": 5, "texts": ["${FLEAS.passages[1]}"]}` })
    ).text();
    await (
      await fetch(`${server.url}/rerank`, {
        ...bad,
        body: `{"query": "${FLEAS.query}", "texts": "${FLEAS.passages[1]}"}`,
      })
    ).text();
    await server.logged(({ msg, status }) => msg === 'request' && status === 422);
    const log = JSON.stringify(server.log);
    expect(log).toContain('"request"');
    for (const text of [FLEAS.query, ...FLEAS.passages]) expect(log).not.toContain(text.slice(0, 30));
  });
});

describe('startServer', () => {
  it('runs two servers side by side in one process, and leaves nothing behind', async () => {
    const flags = ['--port', '0', '--host', '127.0.0.1', '--inference-hosts', '1', '--models', scratch.registry('1')];
    const config = loadConfig(flags, {});
    const servers = await Promise.all([1, 2].map(() => startServer(config, createLogger('silent'))));
    expect(await Promise.all(servers.map(({ warm }) => warm))).toEqual([true, true]);
    expect(new Set(servers.map(({ url }) => url)).size).toBe(2);
    for (const { url } of servers) expect((await rerank(url)).status).toBe(200);
    expect(await Promise.all(servers.map((server) => server.close()))).toEqual([0, 0]);
    for (const { url } of servers) await expect(rerank(url)).rejects.toThrow();
  });

  it('serves the cascades that the registry folder names, and refuses a file of them that it cannot read', async () => {
    const models = scratch.registry('1', '2');
    const file = join(models, 'cascades.json');
    writeFileSync(file, JSON.stringify({ both: [{ model: 'm@1', keep: 2 }, { model: 'm@2' }] }));
    const flags = ['--port', '0', '--host', '127.0.0.1', '--inference-hosts', '1', '--models', models];
    const server = await startServer(loadConfig(flags, {}), createLogger('silent'));
    const answer = await fetch(`${server.url}/v1/rerank`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'both', query: FLEAS.query, documents: FLEAS.passages }),
    });
    expect(await answer.json()).toMatchObject({ model: 'm@2' });
    const { data } = (await (await fetch(`${server.url}/v1/models`)).json()) as { data: { id: string }[] };
    expect(data.find(({ id }) => id === 'both')).toMatchObject({
      cascade: [{ model: 'm@1', keep: 2 }, { model: 'm@2' }],
    });
    await server.close();
    writeFileSync(file, JSON.stringify({ both: [{ model: 'm@1' }, { model: 'm@2' }] }));
    await expect(startServer(loadConfig(flags, {}), createLogger('silent'))).rejects.toThrow(
      'cascades.json: expected how many passages go on',
    );
  });
});
