import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { Fleet } from '../../src/inference/fleet.ts';
import { createHostPool, type SupervisedPool } from '../../src/inference/host-pool.ts';
import type { LoadSpec } from '../../src/inference/inference-types.ts';
import type { PoolEvent } from '../../src/inference/pool-observer.ts';
import { monotonicClock } from '../../src/util/clock.ts';
import { row } from './graphs.ts';

const PROGRAM = fileURLToPath(new URL('./device-host.ts', import.meta.url));
const SPEC: LoadSpec = { key: 'm', file: '/none', padId: 0, maxLength: 64, reduction: { kind: 'single' } };
const folder = mkdtempSync(join(tmpdir(), 'winnow-devices-'));
const env = { WINNOW_TEST_BROKEN: join(folder, 'broken') };

const pools: SupervisedPool[] = [];
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close()));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function opened(devices: readonly number[], hosts = 0) {
  const events: PoolEvent[] = [];
  const pool = await createHostPool({ provider: 'cuda', devices, hosts, program: PROGRAM, env }, (event) =>
    events.push(event),
  );
  pools.push(pool);
  await pool.load(SPEC);
  return { pool, events };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

describe('several devices (processes with paper devices)', () => {
  it('have a host each, which shares of the queue go to', async () => {
    const { pool, events } = await opened([0, 4]);
    expect(pool.size).toBe(2);
    expect(pool.facts()).toMatchObject({ provider: 'cuda', devices: [0, 4], alive: 2 });
    expect(pool.facts().slots.map(({ device }) => device)).toEqual([0, 4]);
    const answers = await Promise.all(Array.from({ length: 40 }, (_, n) => pool.run('m', [row([n, 1])])));
    expect(answers.map(({ scores }) => scores[0])).toEqual(answers.map((_, n) => n + 1));
    expect(new Set(answers.map(({ host }) => host))).toEqual(new Set([0, 1]));
    const ready = events.flatMap((event) => (event.kind === 'ready' ? [[event.host, event.device]] : []));
    expect(ready.toSorted()).toEqual([
      [0, 0],
      [1, 4],
    ]);
  });

  it('share more hosts in turn', async () => {
    const { pool } = await opened([3, 1], 4);
    expect(pool.facts().slots.map(({ device }) => device)).toEqual([3, 1, 3, 1]);
  });

  it('go on where one fails for good and does not come back', async () => {
    const { pool, events } = await opened([0, 1]);
    const batches = Array.from({ length: 6 }, (_, n) => pool.run('m', [row([666]), row([n])]));
    expect((await Promise.all(batches)).map(({ scores }) => [...scores])).toEqual(batches.map((_, n) => [666, n]));
    await until(() => existsSync(`${env.WINNOW_TEST_BROKEN}.1`));
    await until(() => events.filter(({ kind }) => kind === 'restart').length >= 2);
    const lost = events.flatMap((event) => (event.kind === 'lost' ? [event] : []));
    expect(lost[0]).toMatchObject({ host: 1, cause: 'faulty', reason: expect.stringContaining('CUDA failure 700') });
    expect(lost.every(({ host }) => host === 1)).toBe(true);
    expect(lost.at(-1)!.reason).toContain('device 1');
    expect(pool.facts()).toMatchObject({ alive: 1, waiting: 0 });
    expect((await pool.run('m', [row([7, 7])])).host).toBe(0);
    // The device works again: its host is back, with the model, without a restart of the pool.
    rmSync(`${env.WINNOW_TEST_BROKEN}.1`);
    await until(() => pool.facts().alive === 2);
    const both = await Promise.all(Array.from({ length: 8 }, (_, n) => pool.run('m', [row([n, 2])])));
    expect(new Set(both.map(({ host }) => host)).size).toBe(2);
  });

  it.each(['cuda', 'auto'] as const)(
    'do not start as %s where one does not open, and nothing is left',
    async (provider) => {
      const ends: PoolEvent[] = [];
      const fleet = new Fleet(
        {
          provider,
          threads: 1,
          devices: [0, 1],
          hosts: 2,
          program: PROGRAM,
          env: { ...env, WINNOW_TEST_ABSENT: '1' },
          clock: monotonicClock,
          backOff: { baseMs: 1, maxMs: 1, stableMs: 1 },
          startTimeoutMs: 30_000,
          outageGraceMs: 8000,
          graceMs: 5000,
          maxRssBytes: 0,
          replacesInPlace: false,
          recycleEveryMs: 0,
        },
        {
          prepare: async () => {},
          ready: () => {},
          startsFailed: () => {},
          outage: () => {},
          observe: (event) => ends.push(event),
        },
      );
      await expect(fleet.start()).rejects.toMatchObject({
        code: 'provider_unavailable',
        message: expect.stringContaining('device 1'),
      });
      expect(fleet.ready).toEqual([]);
      for (const event of ends) if (event.kind === 'ready') expect(() => process.kill(event.pid, 0)).toThrow('ESRCH');
    },
  );
});
