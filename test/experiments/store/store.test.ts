import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openStore } from '../../../src/experiments/store/store.ts';
import { experimentStoreContract } from '../../contracts/experiment-store.ts';
import { type PostgresServer, postgresPrograms, startPostgres } from '../../support/postgres.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-store-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

experimentStoreContract('SQLite', () => openStore(join(folder, 'experiments.sqlite')));

describe('SQLite', () => {
  it('refuses a file that is no database', async () => {
    const path = join(folder, 'noise');
    writeFileSync(path, 'this is not a database, and long enough to be looked at as one'.repeat(20));
    await expect(openStore(path)).rejects.toThrow(/not a database/);
  });
});

const programs = postgresPrograms();
describe.skipIf(!programs)("PostgreSQL (needs Debian's package postgresql)", () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgres(programs!);
  });
  afterAll(() => server.stop());
  experimentStoreContract('PostgreSQL', () => openStore(server.url));
});
