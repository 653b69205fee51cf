import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { postgresPrograms, startPostgres } from '../../support/postgres.ts';
import { type Lab, MODELS, openLab, SPLIT } from '../lab.ts';

const BIN = postgresPrograms();
const TRIAL = { name: 'trial', ...SPLIT };

describe.skipIf(!BIN)("a PostgreSQL server that comes after the start (needs Debian's package postgresql)", () => {
  it('finds experiments off, which come on when it answers', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'winnow-late-'));
    const file = join(folder, 'experiments.yaml');
    writeFileSync(file, stringify({ experiments: [TRIAL] }));
    const server = await startPostgres(BIN!);
    await server.kill();
    let lab: Lab | undefined;
    try {
      lab = await openLab(MODELS, { database: server.url, file });
      const { reported, service, clock } = lab;
      expect(reported.definitions.at(-1)).toEqual({ defined: 1, running: 0, off: 1 });
      expect(reported.problems[0]).toMatchObject({ where: 'database' });
      await lab.ask('u', [2, 1]);
      expect(reported.exposures).toEqual([]);
      await server.start();
      clock.advance(10_000);
      await service.settled();
      expect(reported.definitions.at(-1)).toEqual({ defined: 1, running: 1, off: 0 });
      await lab.ask('u', [2, 1]);
      expect(reported.exposures).toMatchObject([{ experiment: 'trial' }]);
    } finally {
      await lab?.close();
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
