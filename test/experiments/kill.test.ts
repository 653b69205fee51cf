import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openStore } from '../../src/experiments/store/store.ts';
import { createRandom } from '../../src/util/random.ts';
import { type PostgresServer, postgresPrograms, startPostgres } from '../support/postgres.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-kill-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Lets a child work until it has acknowledged so many outcomes, kills it there and then, and gives what it had acknowledged. */
async function killAfter(database: string, round: number, acknowledgements: number): Promise<string[]> {
  const script = join(import.meta.dirname, 'outcome-child.ts');
  const child = spawn(process.execPath, [script, database, String(round)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const keys: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    keys.push(line);
    if (keys.length === acknowledgements) child.kill('SIGKILL');
  }
  expect(await ended).toEqual([null, 'SIGKILL']);
  return keys;
}

/** Kills a child again and again on one database; afterwards every acknowledged outcome must be known, and its exposure too. */
async function survive(database: string, rounds: number, seed: number): Promise<void> {
  const random = createRandom(seed);
  const acknowledged: string[] = [];
  for (let round = 0; round < rounds; round++)
    acknowledged.push(...(await killAfter(database, round, 1 + random.below(60))));
  const store = await openStore(database);
  const statuses = await store.addOutcomes(
    acknowledged.map((key) => ({ key, at: 0, metric: 'clicks', value: 1, requestId: key })),
  );
  let clicks = 0;
  for await (const { sums } of store.units('trial', { beforeMs: 0 })) clicks += sums.clicks ?? 0;
  await store.close();
  expect(acknowledged.length).toBeGreaterThan(rounds);
  expect(new Set(statuses)).toEqual(new Set(['duplicate']));
  expect(clicks).toBeGreaterThanOrEqual(acknowledged.length);
}

describe('kill -9 at any instant loses no acknowledged outcome', () => {
  it('SQLite', () => survive(join(folder, 'experiments.sqlite'), 4, 1));

  const programs = postgresPrograms();
  describe.skipIf(!programs)("PostgreSQL (needs Debian's package postgresql)", () => {
    let server: PostgresServer;
    beforeAll(async () => {
      server = await startPostgres(programs!);
    });
    afterAll(() => server.stop());

    it('PostgreSQL', () => survive(server.url, 2, 2));
  });
});
