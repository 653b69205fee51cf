import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openStore } from '../../../src/experiments/store/store.ts';
import { type PostgresServer, postgresPrograms, startPostgres } from '../../support/postgres.ts';
import { MODELS, openLab, SPLIT } from '../lab.ts';

describe.skipIf(!postgresPrograms())("a PostgreSQL server that hangs (needs Debian's package postgresql)", () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgres(postgresPrograms()!);
  });
  afterAll(() => server.stop());

  it('gets outcomes refused so that they are sent again, delays no answer, and does not hold up the close', async () => {
    const lab = await openLab(MODELS, { database: server.url, databaseTimeoutMs: 600 });
    await lab.api.put('trial', SPLIT, 'ada');
    await lab.ask('u', [1]);
    const click = (key: string) => lab.api.addOutcomes([{ request_id: 'r1', metric: 'clicks', key }]);
    expect(await click('before')).toMatchObject([{ status: 'stored' }]);

    server.signal('SIGSTOP');
    expect((await lab.ask('u', [2, 1])).ranking).toHaveLength(2);
    const results = await Promise.allSettled(['k1', 'k2', 'k3'].map(click));
    for (const result of results)
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'store_unavailable' } });
    await expect(lab.api.put('other', SPLIT, 'ada')).rejects.toMatchObject({ code: 'store_unavailable' });
    await expect(lab.api.report('trial')).rejects.toMatchObject({ code: 'store_unavailable' });

    server.signal('SIGCONT');
    await expect
      .poll(
        () =>
          click('k1').then(
            ([one]) => one!.status,
            (error: Error) => error.message,
          ),
        { timeout: 10_000 },
      )
      .toMatch(/stored|duplicate/);

    server.signal('SIGSTOP');
    await lab.service.close(300);
    // The exposure of the answer that was given meanwhile.
    expect(lab.reported.lost).toEqual([{ rows: 1, reason: 'closed' }]);
    server.signal('SIGCONT');
    await lab.close();
    const store = await openStore(server.url);
    const sums = [];
    for await (const row of store.units('trial', { beforeMs: 1 })) sums.push(row.sums);
    // Sent and refused, k2 and k3 may be stored or not; those acknowledged are.
    expect(sums[0]!.clicks).toBeGreaterThanOrEqual(2);
    await store.close();
  }, 60_000);
});
