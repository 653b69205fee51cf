import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, renameSync, rmSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import type { ExperimentStore } from '../../../src/experiments/records.ts';
import { openStore } from '../../../src/experiments/store/store.ts';
import { exposure } from '../../contracts/experiment-store.ts';
import { type Lab, MODELS, openLab, SPLIT } from '../lab.ts';

const folder = mkdtempSync(join(tmpdir(), 'winnow-sqlite-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const unitsOf = async (store: ExperimentStore, experiment: string) => {
  const units = [];
  for await (const { unit } of store.units(experiment, { beforeMs: 1 })) units.push(unit);
  return units;
};

describe('a SQLite file that is taken away', () => {
  let lab: Lab;
  afterEach(() => lab.close());
  const open = async (): Promise<string> => {
    lab = await openLab(MODELS);
    await lab.api.put('trial', SPLIT, 'ada');
    await lab.ask('u1', [1]);
    await lab.service.log.flush();
    return join(lab.folder, 'experiments.sqlite');
  };
  const click = (request_id: string) =>
    lab.api.addOutcomes([{ request_id, metric: 'clicks' }]).then(
      ([one]) => one!.status,
      ({ code, params }) => `${code} ${params?.reason}`,
    );
  const problems = () => lab.reported.problems.map(({ where, reason }) => `${where} ${reason.replace(lab.folder, '')}`);
  const told = async (what: RegExp) =>
    expect.poll(problems, { timeout: 5000 }).toContainEqual(expect.stringMatching(what));

  it('is noticed without traffic, told, and opened anew', async () => {
    unlinkSync(await open());
    await told(/database .*experiments\.sqlite was deleted while in use, with 1 exposures/);
    expect(lab.reported.lost).toEqual([{ rows: 1, reason: 'file_lost' }]);
    await lab.ask('u2', [1]);
    await lab.service.log.flush();
    expect(await click('r2')).toBe('stored');
    expect(await unitsOf(await openStore(join(lab.folder, 'experiments.sqlite')), 'trial')).toHaveLength(1);
  });

  it('acknowledges nothing that went into a deleted file', async () => {
    const file = await open();
    unlinkSync(file);
    expect(await click('r1')).toBe('store_unavailable file_lost');
    // The exposure went with the file, and the client is told so.
    expect(await click('r1')).toBe('unknown');
    await lab.ask('u2', [1]);
    expect(await click('r2')).toBe('stored');
    expect(await unitsOf(await lab.service.store(), 'trial')).toHaveLength(1);
    expect(lab.reported.lost).toEqual([{ rows: 1, reason: 'file_lost' }]);
  });

  it('counts only exposures that are not written again', async () => {
    const file = await open();
    for (let i = 2; i < 5; i++) await lab.ask(`u${i}`, [1]);
    await lab.service.log.flush();
    unlinkSync(file);
    await lab.ask('u9', [1]);
    await told(/with 4 exposures/);
    await expect
      .poll(() =>
        lab.service.log.flush().then(
          () => 'written',
          () => 'failed',
        ),
      )
      .toBe('written');
    expect(lab.reported.lost).toEqual([{ rows: 4, reason: 'file_lost' }]);
    expect(await unitsOf(await lab.service.store(), 'trial')).toHaveLength(1);
  });

  it('is noticed with its whole folder gone, which is made again', async () => {
    await open();
    rmSync(lab.folder, { recursive: true });
    await told(/was deleted/);
    await lab.ask('u2', [1]);
    expect(await click('r2')).toBe('stored');
  });

  it('replaced by another database is used as it is, without the log of the old file', async () => {
    const file = await open();
    const other = join(folder, 'other.sqlite');
    const store = await openStore(other);
    await store.addExposures([exposure({ experiment: 'other', unit: 'o', arm: 'a', requestId: 'other1' })]);
    await store.close();
    copyFileSync(other, `${file}.new`);
    renameSync(`${file}.new`, file);
    await told(/was replaced while in use, with 1 exposures/);
    expect(await click('other1')).toBe('stored');
    expect(await click('r1')).toBe('unknown');
    expect(await unitsOf(await lab.service.store(), 'other')).toEqual(['o']);
    const check = `const { DatabaseSync } = require('node:sqlite');
      console.log(new DatabaseSync(process.argv[1]).prepare('PRAGMA integrity_check').get().integrity_check)`;
    await lab.service.close();
    expect(execFileSync(process.execPath, ['-e', check, file], { encoding: 'utf8' })).toBe('ok\n');
  });

  it('replaced by a file that is no database refuses outcomes until there is one', async () => {
    const file = await open();
    copyFileSync(import.meta.filename, `${file}.new`);
    renameSync(`${file}.new`, file);
    await told(/not a database/);
    expect(await click('r1')).toMatch(/^store_unavailable/);
    unlinkSync(file);
    await lab.ask('u2', [1]);
    expect(await click('r2')).toBe('stored');
  });
});

const canMount = (() => {
  try {
    const mount = mkdtempSync(join(folder, 'mount-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', mount], { stdio: 'ignore' });
    execFileSync('umount', [mount]);
    return true;
  } catch {
    return false;
  }
})();

describe.skipIf(!canMount)('a SQLite file on a disk (needs the right to mount one)', () => {
  const mount = mkdtempSync(join(folder, 'disk-'));
  afterEach(() => void execFileSync('umount', ['-l', mount]));
  const fill = async (store: ExperimentStore) => {
    for (let i = 0; i < 100; i++) {
      const items = [{ digest: 'x'.repeat(100_000), index: 0, score: 1 }];
      await store.addExposures([exposure({ experiment: 'full', unit: `u${i}`, arm: 'a', items })]);
    }
  };

  it('that is full says so, and is written again once there is room', async () => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', mount]);
    const store = await openStore(join(mount, 'experiments.sqlite'));
    await expect(fill(store)).rejects.toMatchObject({ code: 'SQLITE_FULL', message: 'database or disk is full' });
    const before = (await unitsOf(store, 'full')).length;
    execFileSync('mount', ['-o', 'remount,size=8m', mount]);
    await store.addExposures([exposure({ experiment: 'full', unit: 'last', arm: 'a' })]);
    expect(await unitsOf(store, 'full')).toHaveLength(before + 1);
    await store.close();
  });

  it('that is read-only says so', async () => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', mount]);
    const file = join(mount, 'experiments.sqlite');
    await (await openStore(file)).close();
    execFileSync('mount', ['-o', 'remount,ro', mount]);
    await expect(openStore(file)).rejects.toThrow(/read-?only|unable to open/);
  });
});
