import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import pg from 'pg';
import { afterAll, describe, expect, it } from 'vitest';
import type { ExperimentStore } from '../../../src/experiments/records.ts';
import { openStore } from '../../../src/experiments/store/store.ts';
import { exposure } from '../../contracts/experiment-store.ts';
import { postgresPrograms, startPostgres } from '../../support/postgres.ts';

/** The tables and rows of a database of an older release, where a key counted once over all metrics. */
const OLD = [
  `CREATE TABLE winnow_exposures (
    request_id TEXT NOT NULL, experiment TEXT NOT NULL, at DOUBLE PRECISION NOT NULL, config_hash TEXT NOT NULL, mode TEXT NOT NULL,
    unit_kind TEXT NOT NULL, unit TEXT NOT NULL, hash_version INTEGER NOT NULL, arm TEXT NOT NULL, models TEXT NOT NULL,
    forced INTEGER NOT NULL, fallback TEXT, failed INTEGER NOT NULL, latency_ms DOUBLE PRECISION NOT NULL, truncated INTEGER NOT NULL,
    items TEXT NOT NULL, PRIMARY KEY (request_id, experiment))`,
  `CREATE TABLE winnow_outcomes (
    key TEXT PRIMARY KEY, at DOUBLE PRECISION NOT NULL, metric TEXT NOT NULL, value DOUBLE PRECISION NOT NULL, request_id TEXT, unit TEXT,
    item INTEGER)`,
  'CREATE INDEX winnow_outcomes_request ON winnow_outcomes (request_id)',
  `INSERT INTO winnow_exposures VALUES ('q1', 'trial', 1000, 'abc', 'split', 'user', 'u1', 2, 'a', '{"a":"m@1"}', 0, NULL, 0, 9, 0, '[]')`,
  `INSERT INTO winnow_outcomes VALUES ('k1', 900, 'clicks', 3, 'q1', 'u1', 0)`,
];

/** Uses a store of an older release as one of this release. */
async function useOld(open: () => Promise<ExperimentStore>): Promise<void> {
  // Servers start together: the tables are changed once.
  const [store, other] = await Promise.all([open(), open()]);
  const status = async (key: string, metric: string, value: number) =>
    (await store.addOutcomes([{ key, metric, value, at: 2000, requestId: 'q1', item: 0 }]))[0];
  expect(await status('k1', 'clicks', 3)).toBe('duplicate');
  expect(await status('k1', 'clicks', 4)).toBe('conflict');
  expect(await status('k1', 'orders', 4)).toBe('stored');
  expect([...(await store.passages(['q1']))]).toEqual([]);
  await store.addExposures([exposure({ experiment: 'trial', unit: 'u2', arm: 'a', requestId: 'q2', passages: 3 })]);
  expect([...(await store.passages(['q1', 'q2', 'q3']))]).toEqual([['q2', 3]]);
  const units = [];
  for await (const { unit, sums, before } of store.units('trial', { beforeMs: 500 })) units.push([unit, sums, before]);
  // The click of its own request is no covariate, though its time says that it came before.
  expect(units).toEqual([
    ['u1', { clicks: 3, orders: 4 }, {}],
    ['u2', {}, {}],
  ]);
  await Promise.all([store.close(), other.close()]);
  const again = await open();
  expect(await again.addOutcomes([{ key: 'k1', metric: 'orders', value: 4, at: 1, requestId: 'q1', item: 0 }])).toEqual(
    ['duplicate'],
  );
  await again.close();
}

describe('a database of an older release', () => {
  const folder = mkdtempSync(join(tmpdir(), 'winnow-old-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('SQLite: is brought up to date and keeps its rows', async () => {
    const path = join(folder, 'old.sqlite');
    const old = new DatabaseSync(path);
    for (const statement of OLD) old.exec(statement);
    old.close();
    await useOld(() => openStore(path));
    const now = new DatabaseSync(path);
    const indexes = now.prepare("SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'winnow_outcomes%'");
    expect(indexes.all()).toHaveLength(3);
    now.close();
  });

  it.skipIf(!postgresPrograms())("PostgreSQL (needs Debian's package postgresql): the same", async () => {
    const server = await startPostgres(postgresPrograms()!);
    try {
      const client = new pg.Client({ connectionString: server.url });
      await client.connect();
      for (const statement of OLD) await client.query(statement);
      await client.end();
      await useOld(() => openStore(server.url));
    } finally {
      await server.stop();
    }
  });
});
