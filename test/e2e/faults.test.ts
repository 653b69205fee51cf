import { cpSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createLoadClient, type LoadClient } from '../../bench/load/client.ts';
import { closedLoop, type Run } from '../../bench/load/loops.ts';
import { loadTopics, requestStream } from '../../bench/load/requests.ts';
import { type ServerProcess, startServerProcess } from '../../bench/load/server.ts';
import { SHIPPED } from '../support/shipped.ts';
import { Scratch } from './support.ts';

/*
 * What goes wrong in production, done to a real server while clients keep it busy. Nobody may notice but by latency.
 */

const scratch = new Scratch();
const { topics } = loadTopics();
let registry: string;
let server: ServerProcess;
let client: LoadClient;

beforeAll(() => {
  registry = scratch.registry('1', '2');
});
beforeEach(async () => {
  server = await startServerProcess({
    flags: ['--models', registry, '--inference-hosts', '2', '--inference-threads', '1'],
  });
  client = createLoadClient(server.url);
});
afterEach(async () => {
  client?.close();
  await server?.stop();
});
afterAll(() => scratch.clear());

/** Clients that never pause, until `stop` is called. */
function underLoad(
  passages = 10,
  concurrency = 4,
): { readonly served: (n: number) => Promise<void>; stop(): Promise<Run> } {
  let stopped = false;
  const run = closedLoop(client, requestStream(topics, passages, 5), { concurrency, until: () => stopped });
  const count = async () => (await server.metric('winnow_pairs_scored_total{model="m",version="1"}')) || 0;
  return {
    /** Waits until `n` more pairs have been scored by version 1. */
    async served(n) {
      const goal = (await count()) + n;
      while ((await count()) < goal);
    },
    async stop() {
      stopped = true;
      return run;
    },
  };
}

const failures = (run: Run) => run.samples.filter(({ status }) => status !== 200);

async function admin(method: string, path: string, body?: unknown): Promise<Response> {
  return fetch(server.url + path, {
    method,
    headers: { 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

async function versions(): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const { data } = (await (await admin('GET', '/v1/models')).json()) as { data: Record<string, unknown>[] };
  return data;
}

describe('under load', { timeout: 400_000 }, () => {
  it('kill -9 of inference hosts, one after the other: no request fails', async () => {
    const load = underLoad();
    await load.served(16);
    const ready = server.log.filter(({ msg }) => msg === 'inference host: ready');
    expect(ready).toHaveLength(2);
    for (const { host, pid } of ready) {
      process.kill(Number(pid), 'SIGKILL');
      await server.logged((line) => line.msg === 'inference host: lost' && line.host === host);
      await server.logged((line) => line.msg === 'inference host: ready' && line.host === host && line.pid !== pid);
      // What was lost is run again once: the next host must not die with the same batch.
      await load.served(32);
    }
    const run = await load.stop();
    expect(failures(run)).toEqual([]);
    expect(await server.metric('winnow_host_events_total{event="lost",cause="crashed"}')).toBe(2);
    expect(await server.metric('winnow_hosts{provider="cpu"}')).toBe(2);
  });

  it('a corrupt new version: it is refused and says why, the old one serves on', async () => {
    const load = underLoad();
    await load.served(16);
    const hidden = join(registry, 'm', '.incoming');
    cpSync(SHIPPED, hidden, { recursive: true });
    writeFileSync(join(hidden, 'onnx', 'model_int8.onnx'), 'this is no ONNX file');
    renameSync(hidden, join(registry, 'm', '3'));
    while (!(await versions()).some(({ version }) => version === '3'));
    const label = admin('PUT', '/v1/models/m/labels/stable', { version: '3' });
    const refusal = await server.logged(({ msg, version }) => msg === 'model refused' && version === '3');
    expect(String(refusal.reason)).not.toBe('');
    expect((await label).ok).toBe(false);
    await load.served(16);
    expect(failures(await load.stop())).toEqual([]);
    expect((await versions()).find(({ version }) => version === '3')).toMatchObject({
      state: 'refused',
      reason: expect.any(String),
    });
    expect(await server.metric('winnow_admissions_refused_total{model="m",version="3"}')).toBeGreaterThanOrEqual(1);
  });

  it('1,000 relabels between two versions: no request fails, both served', async () => {
    const load = underLoad(4, 2);
    await load.served(8);
    const relabel = async (version: string) => {
      const response = await admin('PUT', '/v1/models/m/labels/stable', { version });
      if (!response.ok) throw new Error(`relabel: ${response.status} ${await response.text()}`);
      await response.body?.cancel();
    };
    for (let i = 0; i < 250; i++) await Promise.all(['2', '1', '2', '1'].map(relabel));
    await relabel('1');
    await load.served(16);
    expect(failures(await load.stop())).toEqual([]);
    expect(await server.metric('winnow_pairs_scored_total{model="m",version="2"}')).toBeGreaterThan(0);
  });

  it('SIGTERM: everything accepted is answered, then the process ends with 0', async () => {
    let leaving = false;
    const requests = requestStream(topics, 8, 9);
    const run = closedLoop(client, requests, { concurrency: 6, until: () => leaving });
    await server.logged(({ msg }) => msg === 'request');
    leaving = true;
    server.signal('SIGTERM');
    await server.logged(({ msg }) => msg === 'draining');
    const { samples } = await run;
    expect(samples.length).toBeGreaterThanOrEqual(6);
    expect(samples.filter(({ status }) => status !== 200)).toEqual([]);
    expect(await server.ended).toBe(0);
    expect(server.log.find(({ msg }) => msg === 'closed')).toMatchObject({ lost: 0 });
  });
});
