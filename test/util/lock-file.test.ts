import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { withLock } from '../../src/util/lock-file.ts';
import { startOf } from '../../src/util/processes.ts';

const root = mkdtempSync(join(tmpdir(), 'winnow-locks-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let count = 0;
const fresh = () => join(root, `${++count}`, 'run.lock');

/** Leaves a lock with these fields in place of those of this process. */
async function left(fields: object): Promise<string> {
  const path = fresh();
  await withLock(path, '', async () => {
    const own: object = JSON.parse(readFileSync(path, 'utf8'));
    writeFileSync(path, JSON.stringify({ ...own, ...fields }));
  });
  expect(existsSync(path), 'a lock of another process is not removed').toBe(true);
  return path;
}

const taken = (path: string) => withLock(path, 'wait', async () => 'done');

describe('withLock', () => {
  it('refuses a second holder by pid, then is free and leaves no file', async () => {
    const path = fresh();
    await withLock(path, 'give another --run', async () => {
      await expect(taken(path)).rejects.toMatchObject({
        code: 'in_use',
        message: expect.stringMatching(
          new RegExp(`^${join(path, '..')}: expected no other process .* got pid ${process.pid} since .*; wait$`),
        ),
      });
    });
    await expect(taken(path)).resolves.toBe('done');
    expect(readdirSync(join(path, '..'))).toEqual([]);
  });

  it('is released when the work fails', async () => {
    const path = fresh();
    const fail = () => withLock(path, '', () => Promise.reject(new Error('work')));
    await expect(fail()).rejects.toThrow('work');
    await expect(fail()).rejects.toThrow('work');
  });

  it('takes over a lock whose process is gone', async () => {
    await expect(taken(await left({ pid: spawnSync('true').pid }))).resolves.toBe('done');
  });

  it.skipIf(startOf(process.pid) === undefined)(
    'takes over a lock whose pid is in use by a process with another start, or was of another boot',
    async () => {
      const [boot, ticks] = startOf(process.pid)!.split('/');
      for (const start of [`${boot}/${Number(ticks) - 1}`, `another-boot/${ticks}`])
        await expect(taken(await left({ start }))).resolves.toBe('done');
      await expect(taken(await left({ start: `${boot}/${ticks}` }))).rejects.toThrow(`pid ${process.pid}`);
    },
  );

  it('refuses a lock of another host and says which, and how to remove it', async () => {
    const path = await left({ host: 'elsewhere', pid: 7 });
    await expect(taken(path)).rejects.toThrow(
      new RegExp(`got pid 7 of host elsewhere since .*; wait; if it has ended, remove ${path}$`),
    );
  });

  it.each(['', '{', '[]', '{"pid":"7"}', `{"pid":7,"host":"${hostname()}"}`])(
    'refuses a lock that is %j: nobody knows whose it is',
    async (text) => {
      const path = await left({});
      writeFileSync(path, text);
      await expect(taken(path)).rejects.toThrow(/which names none; remove that file if nothing runs there/);
    },
  );

  it('has one holder at a time where several find a stale lock', async () => {
    const path = await left({ pid: spawnSync('true').pid });
    let inside = 0;
    let most = 0;
    const results = await Promise.allSettled(
      Array.from({ length: 12 }, () =>
        withLock(path, '', async () => {
          most = Math.max(most, ++inside);
          await new Promise(setImmediate);
          inside--;
        }),
      ),
    );
    expect(most).toBe(1);
    expect(results.some(({ status }) => status === 'fulfilled')).toBe(true);
    for (const result of results) if (result.status === 'rejected') expect(result.reason.code).toBe('in_use');
  });

  it('is free again after kill -9 of its holder', async () => {
    const path = fresh();
    const module = join(import.meta.dirname, '..', '..', 'src', 'util', 'lock-file.ts');
    const script = `import { withLock } from ${JSON.stringify(module)};
      await withLock(${JSON.stringify(path)}, '', () => { console.log('held'); return new Promise((r) => setTimeout(r, 60000)); });`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    await expect(taken(path)).rejects.toThrow(`got pid ${child.pid} since`);
    child.kill('SIGKILL');
    await once(child, 'exit');
    await expect(taken(path)).resolves.toBe('done');
  });
});
