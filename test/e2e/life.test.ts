import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { type ServerProcess, startServerProcess } from '../../bench/load/server.ts';
import { loadConfig } from '../../src/config/load-config.ts';
import { startServer } from '../../src/main/server.ts';
import { createLogger } from '../../src/telemetry/logger.ts';
import { limitMemory } from '../attacks/harness/cgroup.ts';
import { FLEAS, ROOT, Scratch } from './support.ts';

const scratch = new Scratch();
const servers: ServerProcess[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.stop()));
});
afterAll(() => scratch.clear());

async function started(...flags: string[]): Promise<ServerProcess> {
  const server = await startServerProcess({ flags: ['--inference-hosts', '1', ...flags] });
  servers.push(server);
  return server;
}

async function ask(url: string, path: string, init: RequestInit = {}) {
  const response = await fetch(url + path, init);
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json');
  return { status: response.status, body: isJson ? JSON.parse(text) : text };
}

const rerank = (url: string, key = '') =>
  ask(url, '/rerank', {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(key ? { authorization: `Bearer ${key}` } : {}) },
    body: JSON.stringify({ query: FLEAS.query, texts: FLEAS.passages }),
  });

const until = async (isSo: () => Promise<boolean>): Promise<void> => {
  while (!(await isSo()));
};
const statusOf = async (url: string, path: string) => (await ask(url, path)).status;

const keysOf = (...keys: readonly (readonly [string, string])[]) =>
  `keys:\n${keys
    .map(
      ([name, key]) =>
        `  - {name: ${name}, sha256: ${createHash('sha256').update(key).digest('hex')}, scopes: [rerank, outcomes]}\n`,
    )
    .join('')}`;

/** A hub that accepts requests and never answers. */
async function silentHub(): Promise<Server> {
  const hub = createServer(() => {});
  await once(hub.listen(0, '127.0.0.1'), 'listening');
  return hub;
}

/** Starts `winnow serve` and resolves with the address that it answers probes at, before the start is complete. */
async function starting(flags: readonly string[], env: Record<string, string>): Promise<[ChildProcess, string]> {
  const child = spawn(process.execPath, ['bin/winnow.mjs', 'serve', '--port', '0', ...flags], {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const text of createInterface({ input: child.stdout! })) {
    const { msg, url } = JSON.parse(text);
    if (String(msg).startsWith('starting')) return [child, String(url).replace('localhost', '127.0.0.1')];
  }
  throw new Error('the server ended');
}

describe('a start that waits for a model', () => {
  it('is live and not ready, outlives SIGHUP, and ends with 0 at SIGTERM', async () => {
    const hub = await silentHub();
    const cache = scratch.make();
    const [child, url] = await starting(['--model', 'some/model', '--server-base-path', '/winnow'], {
      HF_ENDPOINT: `http://127.0.0.1:${(hub.address() as AddressInfo).port}`,
      HF_HOME: cache,
      XDG_CACHE_HOME: cache,
    });
    child.kill('SIGHUP');
    const reason = 'models of registry.sources';
    expect(await ask(url, '/health/live')).toEqual({ status: 200, body: { status: 'live' } });
    expect(await ask(url, '//winnow/health/ready?x=1')).toEqual({ status: 503, body: { status: 'not ready', reason } });
    expect(await statusOf(url, '/.well-known/live')).toBe(204);
    expect(await ask(url, '/v2/health/live')).toEqual({ status: 200, body: { live: true } });
    expect(await ask(url, '/v2/health/ready')).toEqual({ status: 503, body: { ready: false } });
    expect(await rerank(url)).toMatchObject({ status: 503, body: { code: 'not_started' } });
    expect(child.exitCode).toBeNull();
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
    hub.closeAllConnections();
    hub.close();
  });
});

describe('a default version that is refused', () => {
  it('leaves the server live and not ready, which says why, until a version is admitted', async () => {
    const models = scratch.registry('1');
    const graph = join(models, 'm', '1', 'onnx', 'model_int8.onnx');
    const whole = readFileSync(graph);
    writeFileSync(graph, 'no graph');
    const flags = ['--inference-hosts', '1', '--models', models, '--registry-poll-ms', '1000'];
    const server = await startServerProcess({ flags, unready: true });
    servers.push(server);
    const { url } = server;
    await server.logged(({ msg, ready }) => msg === 'readiness' && ready === false);
    expect(await statusOf(url, '/health/live')).toBe(200);
    expect((await ask(url, '/health/ready')).body).toMatchObject({
      status: 'not ready',
      reason: expect.stringContaining('m@1'),
    });
    writeFileSync(graph, whole);
    await until(async () => (await statusOf(url, '/health/ready')) === 200);
  });
});

describe('a server that loses its hosts', { timeout: 60_000 }, () => {
  /** A server in this process whose hosts' program can be taken away. */
  async function withProgram(...flags: string[]) {
    const program = join(scratch.make(), 'host.mjs');
    const give = () => writeFileSync(program, `await import('${join(ROOT, 'src/inference/host.ts')}');`);
    give();
    const pids: number[] = [];
    const sink = new Writable({
      write(chunk, _encoding, done) {
        const line = JSON.parse(String(chunk));
        if (line.msg === 'inference host: ready') pids.push(line.pid);
        done();
      },
    });
    const all = ['--port', '0', '--host', '127.0.0.1', '--inference-hosts', '1', '--models', scratch.registry('1')];
    const config = loadConfig([...all, ...flags], {});
    const server = await startServer(config, createLogger('info', sink), { hostProgram: program });
    expect(await server.warm).toBe(true);
    return { server, pids, give, take: () => rmSync(program) };
  }

  it('stays ready while one is replaced', async () => {
    const { server, pids } = await withProgram();
    const seen = new Set<number>();
    process.kill(pids[0]!, 'SIGKILL');
    const answer = rerank(server.url);
    while (pids.length < 2) seen.add(await statusOf(server.url, '/health/ready'));
    expect((await answer).status).toBe(200);
    expect([...seen]).toEqual([200]);
    await server.close();
  });

  it('is not ready after the grace, not live after the limit, refuses at once, and recovers', async () => {
    const flags = ['--inference-outage-grace-ms', '300', '--inference-outage-limit-ms', '1500'];
    const { server, pids, give, take } = await withProgram(...flags);
    const { url } = server;
    take();
    process.kill(pids[0]!, 'SIGKILL');
    const waiting = Promise.all(Array.from({ length: 12 }, () => rerank(url)));
    await until(async () => (await statusOf(url, '/health/ready')) === 503);
    expect((await ask(url, '/health/ready')).body.reason).toContain('expected an inference host that can run a batch');
    // What waited longer than the grace fails with it, however many batches it is.
    for (const answer of await waiting) expect(answer).toMatchObject({ status: 503, body: { code: 'no_host' } });
    expect(await rerank(url)).toMatchObject({ status: 503, body: { code: 'no_host' } });
    await until(async () => (await statusOf(url, '/health/live')) === 503);
    expect((await ask(url, '/health/live')).body).toEqual({
      status: 'not live',
      reason: expect.stringMatching(/^no inference host has started for \d+ s: it exited with code 1/),
    });
    expect((await ask(url, '/v2/health/live')).body).toEqual({ live: false });
    expect(await statusOf(url, '/.well-known/live')).toBe(503);
    give();
    await until(async () => (await statusOf(url, '/health/ready')) === 200);
    expect(await statusOf(url, '/health/live')).toBe(200);
    expect((await rerank(url)).status).toBe(200);
    await server.close();
  });
});

const LIMIT = 640 * 2 ** 20;
const group = limitMemory(LIMIT);
afterAll(() => {
  if (typeof group !== 'string') group.remove();
});

/** Whether every user may read a folder and those above it. */
const isOpen = (folder: string): boolean =>
  (statSync(folder).mode & 0o055) === 0o055 && (dirname(folder) === folder || isOpen(dirname(folder)));
/** Whether the server can run as another user here. */
const OTHER_USER = existsSync('/usr/bin/setpriv') && [ROOT, dirname(process.execPath)].every(isOpen);

describe.skipIf(typeof group === 'string')('a memory cgroup (needs root)', () => {
  it('decides how many hosts start, and holds them; any user of group 0 can run the server', async () => {
    if (typeof group === 'string') return;
    const [models, runs] = [scratch.registry('1'), scratch.make()];
    for (const folder of [models, runs]) chmodSync(folder, 0o775);
    const experiments = join(runs, 'experiments.yaml');
    writeFileSync(
      experiments,
      'experiments: [{name: t, mode: split, control: a, metrics: [{name: c}], arms: [{name: a, model: m}, {name: b, model: m@1}]}]',
    );
    const database = join(runs, 'experiments.sqlite');
    const flags = [
      '--models',
      models,
      '--inference-provider',
      'cpu',
      '--experiments',
      experiments,
      '--experiments-database',
      database,
    ];
    const user = OTHER_USER ? ['setpriv', '--reuid', '54321', '--regid', '0', '--clear-groups'] : [];
    const command = group.wrap([...user, process.execPath, join(ROOT, 'bin/winnow.mjs'), 'serve']);
    const server = await startServerProcess({ command, flags, env: { HOME: '', XDG_CACHE_HOME: runs } });
    servers.push(server);
    const plan = server.log.find(({ msg }) => msg === 'hosts planned');
    expect(plan).toMatchObject({ memoryBytes: LIMIT, hosts: 1 });
    const limit = Number(plan?.maxRssBytes);
    expect(limit).toBeLessThan(LIMIT - 2 ** 28);
    expect(await server.metric('winnow_host_memory_limit_bytes')).toBe(limit);
    const answers = await Promise.all([1, 2, 3, 4].map(() => rerank(server.url)));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(group.peak()).toBeLessThan(LIMIT);
    expect(statSync(database).uid).toBe(OTHER_USER ? 54_321 : process.getuid?.());
    expect(await server.stop()).toBe(0);
  });
});

describe('SIGHUP and changed files', () => {
  it('rotates keys, by swapped links as Kubernetes mounts them, and keeps them where the file is bad', async () => {
    const mount = scratch.make();
    const put = (version: string, text: string) => {
      mkdirSync(join(mount, version));
      writeFileSync(join(mount, version, 'keys.yaml'), text);
      symlinkSync(version, join(mount, `.${version}`));
      renameSync(join(mount, `.${version}`), join(mount, '..data'));
    };
    put('one', keysOf(['a', 'old']));
    symlinkSync('..data/keys.yaml', join(mount, 'keys.yaml'));
    const settings = join(scratch.make(), 'winnow.yaml');
    writeFileSync(settings, 'telemetry: {logLevel: info}\n');
    const server = await started(
      ...['--models', scratch.registry('1'), '--config', settings, '--auth-keys-file', join(mount, 'keys.yaml')],
    );
    const { url } = server;
    expect([(await rerank(url, 'old')).status, (await rerank(url, 'new')).status]).toEqual([200, 401]);
    put('two', keysOf(['a', 'new'], ['b', 'other']));
    const changed = await server.logged(({ msg }) => msg === 'keys in effect changed');
    expect(changed).toMatchObject({ added: ['b'], removed: [], changed: ['a'] });
    expect([(await rerank(url, 'old')).status, (await rerank(url, 'new')).status]).toEqual([401, 200]);
    put('three', 'keys: [');
    expect((await server.logged(({ msg }) => String(msg).startsWith('keys not read'))).level).toBe('error');
    expect((await rerank(url, 'new')).status).toBe(200);
    expect(await server.metric('winnow_reloads_total{what="keys",result="failed"}')).toBe(1);
    expect(await server.metric('winnow_reloads_total{what="keys",result="applied"}')).toBe(1);
    // A signal reads at once, without waiting for the next look at the file, and never ends the process.
    writeFileSync(settings, 'telemetry: {logLevel: debug}\nscheduling: {maxWaitMs: 777}\n');
    server.signal('SIGHUP');
    expect(await server.logged(({ msg }) => msg === 'reloaded')).toMatchObject({ settings: 'changed', keys: 'failed' });
    expect(server.log.find(({ msg }) => msg === 'changed settings need a restart')).toMatchObject({
      settings: ['scheduling.maxWaitMs'],
    });
    writeFileSync(settings, 'telemetry: {logLevel: loud}\n');
    server.signal('SIGHUP');
    const refused = await server.logged(({ msg }) => String(msg).startsWith('settings not read'));
    expect(refused.reason).toContain('telemetry.logLevel');
    expect((await rerank(url, 'new')).status).toBe(200);
    expect(await server.stop()).toBe(0);
  });
});

describe('server.adminPort', () => {
  it('has the routes of operators, the main port has those of clients, both the probes and the checks of access', async () => {
    const keys = join(scratch.make(), 'keys.yaml');
    writeFileSync(keys, keysOf(['search', 'k']));
    const server = await started(
      ...['--models', scratch.registry('1'), '--server-admin-port', '0', '--auth-keys-file', keys],
    );
    const { url } = server;
    const admin = String(server.log.find(({ msg }) => msg === 'listening')?.adminUrl).replace('localhost', '127.0.0.1');
    for (const at of [url, admin])
      for (const path of ['/health/live', '/health/ready', '/']) expect(await statusOf(at, path)).toBe(200);
    for (const path of ['/metrics', '/docs', '/openapi.yaml', '/openapi.json', '/console/', '/console/api/session'])
      expect([path, await statusOf(url, path)]).toEqual([path, 404]);
    for (const path of ['/metrics', '/docs', '/console/access.json']) expect(await statusOf(admin, path)).toBe(200);
    const label = {
      method: 'PUT',
      headers: { 'content-type': 'application/json', authorization: 'Bearer k' },
      body: '{}',
    };
    expect(await ask(url, '/v1/models/m/labels/x', label)).toMatchObject({ status: 404, body: { code: 'not_found' } });
    expect(await ask(admin, '/v1/models/m/labels/x', label)).toMatchObject({
      status: 403,
      body: { code: 'forbidden' },
    });
    expect(await statusOf(admin, '/v1/experiments')).toBe(401);
    expect(await statusOf(admin, '/v1/models')).toBe(401);
    expect((await rerank(url, 'k')).status).toBe(200);
    expect((await rerank(admin, 'k')).status).toBe(404);
    expect(await server.stop()).toBe(0);
    for (const at of [url, admin]) await expect(fetch(at)).rejects.toThrow();
  });
});
