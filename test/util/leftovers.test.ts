import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, describe, expect, it } from 'vitest';
import { writeFileAtomic } from '../../src/util/files.ts';

const root = mkdtempSync(join(tmpdir(), 'winnow-leftovers-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** An id of a process that has ended. */
const GONE = spawnSync('true').pid;

const age = (path: string, hours: number) => {
  const time = Date.now() / 1000 - hours * 3600;
  utimesSync(path, time, time);
};

describe('what killed processes leave', () => {
  it('is removed by the next writer: our naming, an hour old, process gone', async () => {
    const folder = join(root, 'names');
    mkdirSync(folder);
    const put = (name: string, hours: number) => {
      writeFileSync(join(folder, name), 'x');
      age(join(folder, name), hours);
    };
    put(`.a.json.${GONE}.0123abcd.tmp`, 2);
    // A container's next process has the same id.
    put(`.own.json.${process.pid}.0123abcd.tmp`, 24 * 365);
    const kept = [
      [`.young.json.${GONE}.0123abcd.tmp`, 0.5],
      [`.running.json.${process.ppid}.0123abcd.tmp`, 2],
      ['.others.tmp', 2],
      ['.others.txt.swp', 2],
      [`notes.${GONE}.0123abcd.tmp`, 2],
      [`.a.json.${GONE}.0123abcd.tmp.txt`, 2],
    ] as const;
    for (const [name, hours] of kept) put(name, hours);
    await writeFileAtomic(join(folder, 'b.json'), '{}');
    expect(readdirSync(folder).toSorted()).toEqual(['b.json', ...kept.map(([name]) => name)].toSorted());
  });

  it('a folder counts as old where nothing in it was changed for an hour', async () => {
    const parent = join(root, 'folders');
    const make = (name: string, hoursInside: number) => {
      const folder = join(parent, name);
      mkdirSync(join(folder, 'deep'), { recursive: true });
      writeFileSync(join(folder, 'deep', 'weights'), 'x');
      age(join(folder, 'deep', 'weights'), hoursInside);
      for (const path of [join(folder, 'deep'), folder]) age(path, 2);
    };
    make(`.3.${GONE}.00000001.tmp`, 2);
    make(`.4.${GONE}.00000002.tmp`, 0.1);
    await writeFileAtomic(join(parent, 'labels.json'), '{}');
    expect(readdirSync(parent).toSorted()).toEqual([`.4.${GONE}.00000002.tmp`, 'labels.json']);
  });

  it('of a real kill between write and rename, and of a temporary folder', async () => {
    const temporary = join(root, 'tmp');
    const folder = join(root, 'killed');
    mkdirSync(temporary);
    const files = JSON.stringify(join(import.meta.dirname, '../../src/util/files.ts'));
    const run = (code: string) =>
      spawn(process.execPath, ['--input-type=module', '-e', `import * as files from ${files};\n${code}`], {
        env: { ...process.env, TMPDIR: temporary },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
    const hangs = run(`
      await files.temporaryFolder('publish');
      await files.replaceAtomic(${JSON.stringify(join(folder, 'x'))}, async (path) => {
        (await import('node:fs')).writeFileSync(path, 'half');
        console.log('written');
        await new Promise((resolve) => setInterval(resolve, 60_000));
      });`);
    for await (const line of createInterface({ input: hangs.stdout })) if (line === 'written') hangs.kill('SIGKILL');
    const left = [folder, temporary].flatMap((place) => readdirSync(place).map((name) => join(place, name)));
    expect(left).toHaveLength(2);
    for (const path of left) age(path, 2);
    const next = run(`
      await files.writeFileAtomic(${JSON.stringify(join(folder, 'x'))}, 'whole');
      await (await files.temporaryFolder('publish')).remove();`);
    expect((await once(next, 'exit'))[0]).toBe(0);
    expect([readdirSync(folder), readdirSync(temporary)]).toEqual([['x'], []]);
  });
});
