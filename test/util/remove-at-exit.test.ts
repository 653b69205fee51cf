import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, describe, expect, it } from 'vitest';

const root = mkdtempSync(join(tmpdir(), 'winnow-exit-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const src = (file: string) => JSON.stringify(join(import.meta.dirname, '../../src', file));

/** Runs code in a process of its own, which prints `ready`; then sends it the signals. */
async function run(code: string, signals: readonly NodeJS.Signals[]) {
  const temporary = mkdtempSync(join(root, 'tmp-'));
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    env: { ...process.env, TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(child, 'exit');
  let printed = '';
  for await (const line of createInterface({ input: child.stdout })) {
    printed += `${line} `;
    const signal = signals[printed.trim().split(' ').length - 1];
    if (signal) child.kill(signal);
  }
  const [status, signal] = await exit;
  return { status, signal, printed: printed.trim(), left: readdirSync(temporary).length };
}

const MAKE = `import { temporaryFolder } from ${src('util/files.ts')};
  import { writeFileSync } from 'node:fs';
  const folder = await temporaryFolder('graph');
  writeFileSync(folder.path + '/weights', 'x');`;
const WAIT = `setInterval(() => {}, 60_000); console.log('ready');`;

describe('a temporary folder', () => {
  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('is removed by %s, which still ends the process', async (name) => {
    const found = await run(`${MAKE} ${WAIT}`, [name]);
    expect(found).toEqual({ status: null, signal: name, printed: 'ready', left: 0 });
  });

  it('is removed where the process exits by itself', async () => {
    expect(await run(`${MAKE} process.exit(3);`, [])).toMatchObject({ status: 3, left: 0 });
    expect(await run(`${MAKE} process.exitCode = 4;`, [])).toMatchObject({ status: 4, left: 0 });
  });

  it('stays in use while work ends in order after the first signal, and goes with the second', async () => {
    const stopping = `import { stopOnSignals } from ${src('cli/stop-on-signals.ts')};
      const { signal } = stopOnSignals();
      ${MAKE}
      import { existsSync } from 'node:fs';
      signal.addEventListener('abort', () => console.log(existsSync(folder.path + '/weights') ? 'kept' : 'gone'));
      ${WAIT}`;
    expect(await run(stopping, ['SIGTERM', 'SIGTERM'])).toEqual({
      status: null,
      signal: 'SIGTERM',
      printed: 'ready kept',
      left: 0,
    });
  });

  it('that was removed is of no more interest: signals end the process as ever', async () => {
    expect(await run(`${MAKE} await folder.remove(); ${WAIT}`, ['SIGINT'])).toMatchObject({
      signal: 'SIGINT',
      left: 0,
    });
  });
});
