import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { ExperimentStore } from '../../../src/experiments/records.ts';
import { openStore } from '../../../src/experiments/store/store.ts';
import { exposure } from '../../contracts/experiment-store.ts';
import { type PostgresServer, postgresPrograms, startPostgres } from '../../support/postgres.ts';

/*
 * A PostgreSQL server that fails under its clients. Vitest fails a run with an uncaught exception, which is what a connection without a
 * listener ends in.
 */

type Query = (this: pg.Client, ...args: unknown[]) => Promise<unknown>;
const query = pg.Client.prototype.query as unknown as Query;

let serial = 0;
const outcomeOf = (requestId: string) => ({ key: `k${++serial}`, at: 2000, metric: 'clicks', value: 1, requestId });

/** One of everything the store does, on rows of its own. */
async function useStore(store: ExperimentStore): Promise<string> {
  const name = `trial ${++serial}`;
  const shown = exposure({ experiment: name, unit: 'u', arm: 'a' });
  await store.addExposures([shown]);
  const [status] = await store.addOutcomes([outcomeOf(shown.requestId)]);
  const units = [];
  for await (const row of store.units(name, { beforeMs: 500 })) units.push(row.sums);
  await store.prune(0);
  return `${status} ${JSON.stringify(units)}`;
}
const DONE = 'stored [{"clicks":1}]';

describe.skipIf(!postgresPrograms())("PostgreSQL that fails (needs Debian's package postgresql)", () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgres(postgresPrograms()!);
  });
  afterAll(() => server.stop());
  afterEach(() => {
    vi.restoreAllMocks();
  });

  /** Ends all other sessions. */
  async function endSessions(): Promise<void> {
    const killer = new pg.Client({ connectionString: server.url });
    await killer.connect();
    const sql =
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    await query.call(killer, sql);
    await killer.end();
  }

  it('sessions ended at any statement fail that call only', async () => {
    const store = await openStore(server.url);
    let [count, endAt, when] = [0, 0, 'before'];
    vi.spyOn(pg.Client.prototype, 'query').mockImplementation(async function (this: pg.Client, ...args: unknown[]) {
      const isIt = ++count === endAt;
      if (isIt && when === 'before') await endSessions();
      const answer = query.apply(this, args);
      // Awaited below: a rejection meanwhile is not unhandled.
      answer.catch(() => {});
      if (isIt && when === 'during') await endSessions();
      return answer;
    } as never);
    expect(await useStore(store)).toBe(DONE);
    const statements = count;
    expect(statements).toBeGreaterThan(15);
    const failures = [];
    for (when of ['before', 'during'])
      for (endAt = 1; endAt <= statements; endAt++) {
        count = 0;
        failures.push(await useStore(store).catch((error: Error) => error));
        count = Number.NEGATIVE_INFINITY;
        expect(await useStore(store)).toBe(DONE);
      }
    expect(failures.slice(0, statements).every((failure) => failure instanceof Error)).toBe(true);
    await store.close();
  });

  it('a server that crashes under load and comes back is used again, and has every outcome that was acknowledged', async () => {
    const store = await openStore(server.url, { timeoutMs: 2000 });
    const shown = exposure({ experiment: 'load', unit: 'u', arm: 'a' });
    await store.addExposures([shown]);
    const tally = { stored: 0, failed: 0, isOver: false };
    const load = Array.from({ length: 8 }, async () => {
      while (!tally.isOver)
        await store.addOutcomes([outcomeOf(shown.requestId)]).then(
          () => tally.stored++,
          () => tally.failed++,
        );
    });
    const grows = async (key: 'stored' | 'failed') => {
      const before = tally[key];
      await expect.poll(() => tally[key], { timeout: 20_000 }).toBeGreaterThan(before + 20);
    };
    for (let i = 0; i < 3; i++) {
      await grows('stored');
      await server.kill();
      await grows('failed');
      await server.start();
    }
    await grows('stored');
    tally.isOver = true;
    await Promise.all(load);
    const units = [];
    for await (const row of store.units('load', { beforeMs: 500 })) units.push(row.sums.clicks);
    expect(units[0]).toBeGreaterThanOrEqual(tally.stored);
    await store.close();
  }, 90_000);

  it('a server that hangs fails each call in time, also the close', async () => {
    const store = await openStore(server.url, { timeoutMs: 1000 });
    const shown = exposure({ experiment: 'hangs', unit: 'u', arm: 'a' });
    await store.addExposures([shown]);
    server.signal('SIGSTOP');
    try {
      const outcome = () => store.addOutcomes([outcomeOf(shown.requestId)]);
      await expect(outcome()).rejects.toMatchObject({ code: 'ETIMEDOUT' });
      await expect(outcome()).rejects.toThrow(/timeout|within/);
    } finally {
      server.signal('SIGCONT');
    }
    await expect.poll(() => useStore(store).catch((error: Error) => error.message), { timeout: 10_000 }).toBe(DONE);
    server.signal('SIGSTOP');
    await store.close();
    server.signal('SIGCONT');
  });

  it('a statement that waits for a lock is ended by the server, and its session goes', async () => {
    const store = await openStore(server.url, { timeoutMs: 1000 });
    const locker = new pg.Client({ connectionString: server.url });
    await locker.connect();
    await locker.query('BEGIN; LOCK TABLE winnow_exposures IN ACCESS EXCLUSIVE MODE');
    const failed = await store.addExposures([exposure({ experiment: 'locked', unit: 'u', arm: 'a' })]).catch((e) => e);
    expect(failed).toMatchObject({ code: '57014' });
    const waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    expect((await locker.query(waiting)).rows).toEqual([]);
    await locker.end();
    expect(await useStore(store)).toBe(DONE);
    await store.close();
  });
});
