import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { text as readText } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createHostPool, type PoolOptions, type SupervisedPool } from '../../src/inference/host-pool.ts';
import type { PoolEvent } from '../../src/inference/pool-observer.ts';
import type { Clock } from '../../src/util/clock.ts';
import {
  bulkyGraph,
  type GraphFolder,
  graphFolder,
  heavyGraph,
  longLoadGraph,
  row,
  shapedGraph,
  slowGraph,
  sumGraph,
} from './graphs.ts';

/** Turns of the slow graph: about a second, and longer than any test runs. */
const SECOND = 700_000;
const FOR_EVER = 2_000_000_000;

let folder: GraphFolder;
const pools: SupervisedPool[] = [];

beforeAll(async () => {
  folder = await graphFolder();
});
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close()));
});
afterAll(() => folder.remove());

interface Watched {
  readonly pool: SupervisedPool;
  readonly events: PoolEvent[];
  /** Process id of the host that came into service last in each place. */
  readonly pids: () => readonly number[];
  /** The next event of a kind, or one that has been already. */
  readonly seen: (kind: PoolEvent['kind'], count?: number) => Promise<void>;
}

async function watched(options: PoolOptions): Promise<Watched> {
  const events: PoolEvent[] = [];
  const waiting: (() => void)[] = [];
  const pool = await createHostPool({ provider: 'cpu', threads: 1, ...options }, (event) => {
    events.push(event);
    for (const wake of waiting.splice(0)) wake();
  });
  pools.push(pool);
  return {
    pool,
    events,
    pids: () => Array.from({ length: pool.size }, (_, host) => lastPid(events, host)),
    async seen(kind, count = 1) {
      while (events.filter((event) => event.kind === kind).length < count)
        await new Promise<void>((resolve) => void waiting.push(resolve));
    },
  };
}

function lastPid(events: readonly PoolEvent[], host: number): number {
  const ready = events.findLast((event) => event.kind === 'ready' && event.host === host);
  return ready?.kind === 'ready' ? ready.pid : 0;
}

/** The device in the settings that a host was started with. */
function deviceOfProcess(pid: number): number {
  const [, , settings = '{}'] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  return JSON.parse(settings).device;
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A killed child stays in the table until its parent has waited for it.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}

/** Clock ticks of processor time a process has used. */
function ticks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

async function untilAtWork(pid: number): Promise<void> {
  const before = ticks(pid);
  await until(() => ticks(pid) >= before + 5);
}

describe.skipIf(!existsSync('/proc/self/stat'))('lost hosts (reads /proc)', () => {
  it.each([1, 2])('a batch whose host is killed -9 comes back all the same (%i hosts)', async (hosts) => {
    const { pool, pids, events } = await watched({ hosts });
    await pool.load(await folder.write('slow', slowGraph()));
    const before = pids();
    const slow = pool.run('slow', [row([SECOND])]);
    const behind = Array.from({ length: 2 * hosts }, (_, i) => pool.run('slow', [row([i + 1])]));
    await untilAtWork(before[0]!);
    process.kill(before[0]!, 'SIGKILL');
    expect([...(await slow).scores]).toEqual([SECOND]);
    expect((await Promise.all(behind)).map(({ scores }) => scores[0])).toEqual(behind.map((_, i) => i + 1));
    await until(() => pool.facts().alive === hosts);
    expect(pids()[0]).not.toBe(before[0]);
    expect(pool.facts()).toMatchObject({ restarts: 1, kills: 0, waiting: 0, inFlight: 0 });
    expect(events).toContainEqual({ kind: 'lost', host: 0, cause: 'crashed', reason: 'it exited with SIGKILL' });
  });

  it('a lost host comes back on its device, and the other one goes on meanwhile', async () => {
    const { pool, pids, events, seen } = await watched({ hosts: 4, devices: [2, 5] });
    await pool.load(await folder.write('sum', sumGraph()));
    await pool.load(await folder.write('slow', slowGraph()));
    expect(pool.facts().slots.map(({ device }) => device)).toEqual([2, 5, 2, 5]);
    expect(pids().map(deviceOfProcess)).toEqual([2, 5, 2, 5]);
    const before = pids();
    for (const lost of [1, 3]) process.kill(before[lost]!, 'SIGKILL');
    const answers = await Promise.all([1, 2, 3].map((n) => pool.run('sum', [row([n], 1)])));
    expect(answers.map(({ scores }) => scores[0])).toEqual([1001, 1002, 1003]);
    await seen('ready', 6);
    await until(() => pool.facts().alive === 4);
    expect(pids().map(deviceOfProcess)).toEqual([2, 5, 2, 5]);
    expect([pids()[0], pids()[2]]).toEqual([before[0], before[2]]);
    expect(events.filter(({ kind }) => kind === 'restart')).toHaveLength(2);
    // The new hosts hold every model: a batch on each host at the same time.
    const slow = Array.from({ length: 4 }, () => pool.run('slow', [row([SECOND / 10])]));
    expect(new Set((await Promise.all(slow)).map(({ host }) => host)).size).toBe(4);
  });

  it('every host of a pool under load may die without a request failing', async () => {
    const { pool, pids, seen } = await watched({ hosts: 2 });
    await pool.load(await folder.write('sum', sumGraph()));
    const numbers = Array.from({ length: 400 }, (_, i) => i + 1);
    const answers = Promise.all(numbers.map((n) => pool.run('sum', [row([n], 1)])));
    for (const [i, pid] of pids().entries()) {
      process.kill(pid, 'SIGKILL');
      await seen('lost', i + 1);
    }
    expect((await answers).map(({ scores }) => scores[0])).toEqual(numbers.map((n) => n + 1000));
  });

  it('kills a host whose batch outlasts the limit, twice, and gives the batch up', async () => {
    const { pool, seen } = await watched({ hosts: 2, batchTimeoutMs: 1000 });
    await pool.load(await folder.write('slow', slowGraph()));
    const hanging = pool.run('slow', [row([FOR_EVER])]);
    const innocent = Array.from({ length: 6 }, (_, i) => pool.run('slow', [row([i + 1])]));
    await expect(hanging).rejects.toMatchObject({ code: 'host_lost' });
    await expect(hanging).rejects.toThrow('it did not answer within 1000 ms');
    expect((await Promise.all(innocent)).map(({ scores }) => scores[0])).toEqual([1, 2, 3, 4, 5, 6]);
    await seen('ready', 4);
    expect(pool.facts()).toMatchObject({ kills: 2, retries: 1, alive: 2 });
    expect([...(await pool.run('slow', [row([3])])).scores]).toEqual([3]);
  });

  it('a graph that never finishes loading takes no other model with it', async () => {
    const { pool } = await watched({ hosts: 1, loadTimeoutMs: 1500 });
    await pool.load(await folder.write('sum', sumGraph()));
    const load = pool.load(await folder.write('long-load', longLoadGraph(60)));
    await expect(load).rejects.toMatchObject({ code: 'invalid_graph' });
    await expect(load).rejects.toThrow('a graph that leaves its inference host alive');
    expect([...(await pool.run('sum', [row([1], 1)])).scores]).toEqual([1001]);
    expect(pool.facts().kills).toBe(2);
  });

  it('a host that comes back without one of its models serves the others', async () => {
    const { pool, pids, seen } = await watched({ hosts: 1 });
    await pool.load(await folder.write('sum', sumGraph()));
    const lost = await folder.write('lost', shapedGraph('column'));
    await pool.load(lost);
    await rm(lost.file);
    process.kill(pids()[0]!, 'SIGKILL');
    await seen('model_missing');
    expect([...(await pool.run('sum', [row([1], 1)])).scores]).toEqual([1001]);
    await expect(pool.run('lost', [row([1])])).rejects.toMatchObject({ code: 'model_not_ready' });
  });

  it('gives waiting batches up when hosts cannot be started any more', async () => {
    const env: Record<string, string> = {};
    const backOff = { baseMs: 1, maxMs: 5, stableMs: 60_000 };
    const { pool, pids, events } = await watched({ hosts: 1, env, backOff });
    await pool.load(await folder.write('sum', sumGraph()));
    env.NODE_OPTIONS = '--require /nowhere/at-all.cjs';
    process.kill(pids()[0]!, 'SIGKILL');
    await expect(pool.run('sum', [row([1], 1)])).rejects.toMatchObject({ code: 'host_lost' });
    delete env.NODE_OPTIONS;
    await until(() => pool.facts().alive === 1);
    expect([...(await pool.run('sum', [row([1], 1)])).scores]).toEqual([1001]);
    expect(events.filter(({ kind }) => kind === 'lost').length).toBeGreaterThanOrEqual(4);
  });
});

describe('starting', () => {
  it('says why a host did not start', async () => {
    const start = createHostPool({ provider: 'cpu', hosts: 2, env: { NODE_OPTIONS: '--require /nowhere/at-all.cjs' } });
    await expect(start).rejects.toMatchObject({ code: 'host_lost' });
    await expect(start).rejects.toThrow('it exited with code 1');
  });

  it('names the cure for a provider that is absent', async () => {
    const start = createHostPool({ provider: 'cuda', hosts: 1 });
    await expect(start).rejects.toMatchObject({ code: 'provider_unavailable', params: { provider: 'cuda' } });
    await expect(start).rejects.toThrow('set inference.provider to auto');
  });
});

/** Real hosts under a clock whose long waits end when the test says so. */
function steppedClock() {
  const waits: { ms: number; call: () => void }[] = [];
  const clock: Clock = {
    now: () => 0,
    after(ms, call) {
      const wait = { ms, call };
      waits.push(wait);
      return () => void waits.splice(waits.indexOf(wait), 1);
    },
  };
  const take = (ms: number) =>
    waits
      .splice(
        waits.findIndex((wait) => wait.ms === ms),
        1,
      )[0]!
      .call();
  return { clock, waits, take };
}

describe('without any host', () => {
  it('waits for one as long as the grace lasts, then refuses at once, and serves again when one is back', async () => {
    const { clock, take } = steppedClock();
    const env: Record<string, string> = {};
    const backOff = { baseMs: 111, maxMs: 111, stableMs: 1e9 };
    const { pool, pids, events, seen } = await watched({ hosts: 1, clock, env, backOff, outageGraceMs: 7777 });
    await pool.load(await folder.write('sum', sumGraph()));
    expect(pool.facts().outage).toBeUndefined();
    env.NODE_OPTIONS = '--require /nowhere/at-all.cjs';
    process.kill(pids()[0]!, 'SIGKILL');
    await seen('restart');
    take(0);
    await seen('restart', 2);
    const facts = { isOverGrace: false, reason: 'it exited with code 1' };
    expect(pool.facts().outage).toMatchObject({ isOverGrace: false, reason: expect.stringContaining(facts.reason) });
    const waiting = expect(pool.run('sum', [row([1], 1)])).rejects.toMatchObject({ code: 'no_host', status: 503 });
    const loading = expect(pool.load(await folder.write('other', sumGraph()))).rejects.toMatchObject({
      code: 'no_host',
    });
    take(7777);
    await Promise.all([waiting, loading]);
    expect(events.filter(({ kind }) => kind === 'outage')).toHaveLength(1);
    await expect(pool.run('sum', [row([1], 1)])).rejects.toThrow('got none for 0 s: it exited with code 1');
    await expect(pool.load(await folder.write('other', sumGraph()))).rejects.toMatchObject({ code: 'no_host' });
    delete env.NODE_OPTIONS;
    take(111);
    await seen('ready', 2);
    expect(pool.facts().outage).toBeUndefined();
    expect([...(await pool.run('sum', [row([1], 1)])).scores]).toEqual([1001]);
  });

  it('does not wait for the grace where every start fails', async () => {
    const env: Record<string, string> = {};
    const backOff = { baseMs: 1, maxMs: 1, stableMs: 1e9 };
    const { pool, pids, seen } = await watched({ hosts: 2, env, backOff, outageGraceMs: 600_000 });
    await pool.load(await folder.write('sum', sumGraph()));
    env.NODE_OPTIONS = '--require /nowhere/at-all.cjs';
    for (const pid of pids()) process.kill(pid, 'SIGKILL');
    await seen('outage');
    await expect(pool.run('sum', [row([1], 1)])).rejects.toMatchObject({ code: 'no_host' });
    delete env.NODE_OPTIONS;
    await seen('ready', 4);
    expect([...(await pool.run('sum', [row([1], 1)])).scores]).toEqual([1001]);
  });

  it('is no outage while one of several hosts, or the host that is replaced, runs', async () => {
    const { pool, pids, seen, events } = await watched({ hosts: 2, outageGraceMs: 0 });
    await pool.load(await folder.write('sum', sumGraph()));
    process.kill(pids()[0]!, 'SIGKILL');
    await seen('lost');
    expect(pool.facts().outage).toBeUndefined();
    await seen('ready', 3);
    expect(events.filter(({ kind }) => kind === 'outage')).toEqual([]);
  });
});

describe('restarting', () => {
  it('backs off, doubling, and not for the first time', async () => {
    const { clock, waits, take } = steppedClock();
    const backOff = { baseMs: 111, maxMs: 333, stableMs: 1e9 };
    const { events, pids, seen } = await watched({ hosts: 1, clock, backOff });
    for (const [i, delay] of [0, 111, 222, 333, 333].entries()) {
      process.kill(pids()[0]!, 'SIGKILL');
      await seen('restart', i + 1);
      expect(events.at(-1)).toEqual({ kind: 'restart', host: 0, delayMs: delay });
      expect(waits.map(({ ms }) => ms)).toContain(delay);
      take(delay);
      await seen('ready', i + 2);
    }
  });
});

describe('memory', () => {
  it('replaces a host that grew over the limit, between batches', async () => {
    const { pool, pids, seen, events } = await watched({ hosts: 1, maxRssBytes: 1, recycleEveryMs: 0 });
    await pool.load(await folder.write('bulky', bulkyGraph(20e6)));
    await pool.load(await folder.write('sum', sumGraph()));
    const [before] = pids();
    const numbers = Array.from({ length: 20 }, (_, i) => i + 1);
    const answers = numbers.map((n) => pool.run(n === 3 ? 'bulky' : 'sum', [row([n], 1)]));
    expect((await Promise.all(answers)).map(({ scores }) => scores[0])).toEqual(
      numbers.map((n) => (n === 3 ? 3.5 : n + 1000)),
    );
    const cpuMs = pool.facts().slots[0]!.cpuMs;
    await seen('recycle');
    expect(pids()[0]).not.toBe(before);
    // The processor time of the place goes on with that of the new process.
    expect(pool.facts().slots[0]!.cpuMs).toBeGreaterThan(cpuMs);
    expect(pool.facts()).toMatchObject({ recycles: 1, restarts: 0, kills: 0 });
    expect(events.some(({ kind }) => kind === 'lost')).toBe(false);
    expect([...(await pool.run('sum', [row([1], 1)])).scores]).toEqual([1001]);
    await until(() => !alive(before!));
  });

  it('where it does not hold two, ends the host before its successor starts; no request fails', async () => {
    const options = { hosts: 1, maxRssBytes: 1, recycleEveryMs: 0, replacesInPlace: true };
    const { pool, pids, seen, events } = await watched(options);
    await pool.load(await folder.write('bulky', bulkyGraph(20e6)));
    await pool.load(await folder.write('sum', sumGraph()));
    const [before] = pids();
    await pool.run('bulky', [row([1])]);
    const answers = Promise.all([1, 2, 3, 4].map((n) => pool.run('sum', [row([n], 1)])));
    await seen('ready', 2);
    // The first was gone when the second reported that it runs.
    expect(alive(before!)).toBe(false);
    expect((await answers).map(({ scores }) => scores[0])).toEqual([1001, 1002, 1003, 1004]);
    await seen('recycle');
    expect(events.filter(({ kind }) => kind === 'lost' || kind === 'outage')).toEqual([]);
    expect(pool.facts().outage).toBeUndefined();
  });

  it('does not replace one that is above the limit from the start', async () => {
    const { pool, events } = await watched({ hosts: 1, maxRssBytes: 1, recycleEveryMs: 0 });
    await pool.load(await folder.write('sum', sumGraph()));
    for (let n = 0; n < 50; n++) await pool.run('sum', [row([n], 1)]);
    expect(events.some(({ kind }) => kind === 'recycle')).toBe(false);
  });

  it('unloading gives the memory back', async () => {
    const { pool } = await watched({ hosts: 1 });
    await pool.load(await folder.write('sum', sumGraph()));
    await pool.load(await folder.write('heavy', heavyGraph(4096)));
    await pool.run('heavy', [row([1])]);
    const full = pool.facts().slots[0]!.rss;
    await pool.unload('heavy');
    await pool.run('sum', [row([1], 1)]);
    expect(full - pool.facts().slots[0]!.rss).toBeGreaterThan(40 * 2 ** 20);
  });
});

describe('a trial', () => {
  it('needs no spare host while nothing serves, and runs the test on one otherwise', async () => {
    const { pool, pids } = await watched({ hosts: 1 });
    const sum = await folder.write('sum', sumGraph());
    expect(await pool.trial!(sum, async () => expect.unreachable())).toBe(false);
    await pool.load(sum);
    const before = pids();
    let scores: Float32Array | undefined;
    const tried = await pool.trial!({ ...sum, key: 'tried' }, async (run) => {
      ({ scores } = await run([row([1, 2, 3])]));
    });
    expect(tried).toBe(true);
    expect([...scores!]).toEqual([3006]);
    await expect(pool.run('tried', [row([1])])).rejects.toMatchObject({ code: 'model_not_ready' });
    expect(await pool.load({ ...sum, key: 'tried' })).toMatchObject({ key: 'tried' });
    expect([...(await pool.run('tried', [row([1, 2, 3])])).scores]).toEqual([3006]);
    expect(pids()).toEqual(before);
  });

  it('of a graph that never ends costs a spare host and no batch of other models', async () => {
    const { pool, events, pids } = await watched({ hosts: 1, batchTimeoutMs: 1000 });
    await pool.load(await folder.write('sum', sumGraph()));
    const before = pids();
    const slow = await folder.write('slow', slowGraph());
    const trial = expect(
      pool.trial!(slow, async (run) => {
        await run([row([FOR_EVER])]);
      }),
    ).rejects.toMatchObject({ code: 'invalid_graph' });
    const scores = await Promise.all(Array.from({ length: 20 }, (_, i) => pool.run('sum', [row([i])])));
    expect(scores.map((answer) => answer.scores[0])).toEqual(Array.from({ length: 20 }, (_, i) => i + 1000));
    await trial;
    expect(events.filter(({ kind }) => kind === 'lost')).toEqual([]);
    expect(pids()).toEqual(before);
  });
});

describe('leaving', () => {
  it('finishes what runs, refuses what waits, leaves no process', async () => {
    const { pool, pids } = await watched({ hosts: 2 });
    await pool.load(await folder.write('slow', slowGraph()));
    const running = Array.from({ length: 4 }, () => pool.run('slow', [row([SECOND / 4])]));
    const waiting = pool.run('slow', [row([1])]);
    const refused = expect(waiting).rejects.toMatchObject({ code: 'shutting_down' });
    await pool.close();
    await refused;
    for (const { scores } of await Promise.all(running)) expect([...scores]).toEqual([SECOND / 4]);
    expect(pids().filter(alive)).toEqual([]);
  });

  it('kills what does not finish in time', async () => {
    const { pool, pids } = await watched({ hosts: 1, graceMs: 200 });
    await pool.load(await folder.write('slow', slowGraph()));
    const lost = expect(pool.run('slow', [row([FOR_EVER])])).rejects.toMatchObject({ code: 'shutting_down' });
    await pool.close();
    await lost;
    expect(pids().filter(alive)).toEqual([]);
  });

  it('hosts end with a parent that is killed -9', async () => {
    const spec = await folder.write('sum', sumGraph());
    const parent = startParent(join(import.meta.dirname, 'orphans.ts'), JSON.stringify(spec));
    const [text] = (await once(parent.stdout!, 'data')) as [Buffer];
    const pids = JSON.parse(text.toString()) as number[];
    expect(pids.filter(alive)).toHaveLength(2);
    parent.kill('SIGKILL');
    await until(() => !pids.some(alive));
  });

  it('hosts end with a parent that is killed -9 while they are inside a native call', async () => {
    const spec = await folder.write('slow', slowGraph());
    const parent = startParent(join(import.meta.dirname, 'orphans.ts'), JSON.stringify(spec), String(FOR_EVER));
    const [text] = (await once(parent.stdout!, 'data')) as [Buffer];
    const pids = JSON.parse(text.toString()) as number[];
    await Promise.all(pids.map(untilAtWork));
    parent.kill('SIGKILL');
    await until(() => !pids.some(alive));
  });

  it('a system without free descriptors is a failed start, and passes', async () => {
    const spec = await folder.write('sum', sumGraph());
    const script = join(import.meta.dirname, 'descriptors.ts');
    const child = spawn(
      '/bin/sh',
      ['-c', `ulimit -n 256; exec "${process.execPath}" "${script}" '${JSON.stringify(spec)}'`],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const text = await readText(child.stdout);
    expect(JSON.parse(text)).toMatchObject({ failedStarts: true, scores: [3006] });
  });
});

function startParent(file: string, ...args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [file, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
}
