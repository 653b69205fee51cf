import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const SRC = join(import.meta.dirname, '../../src');

/** A process with our handlers and `body` behind them; `logger` writes JSON lines to standard output. */
function run(body: string): {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly said: (text: string) => Promise<void>;
} {
  const script = `
    import { handleFaults, handleSignals } from '${SRC}/main/process.ts';
    import { createLogger } from '${SRC}/telemetry/logger.ts';
    const logger = createLogger('info');
    ${body}`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout!.on('data', (chunk: Buffer) => {
    output += chunk;
  });
  const said = async (text: string) => {
    while (!output.includes(text)) await once(child.stdout!, 'data');
  };
  return { child, output: () => output, said };
}
const exitOf = async (child: ChildProcess) => (await once(child, 'close'))[0] as number;

describe('uncaught exceptions and rejections', () => {
  it.each([
    ['uncaughtException', "setTimeout(() => { throw new TypeError('oops'); });"],
    ['unhandledRejection', "Promise.reject(new TypeError('oops'));"],
  ])('%s is logged with its stack and ends the process with 1', async (event, fault) => {
    const { child, output } = run(`handleFaults(logger); ${fault} setInterval(() => {}, 1000);`);
    expect(await exitOf(child)).toBe(1);
    expect(JSON.parse(output().split('\n')[0]!)).toMatchObject({
      level: 'error',
      msg: event,
      err: { message: 'oops' },
    });
  });
});

describe('signals', () => {
  const serving = (close: string) =>
    `handleSignals({ close: ${close} }, logger); setInterval(() => {}, 1000); console.log('up');`;

  it.each([
    ['0 when everything was answered', 'async () => 0', 0],
    ['1 when requests had to be cut off', 'async () => 2', 1],
    ['1 when closing failed', "async () => { throw new Error('stuck'); }", 1],
  ])('the first drains, and the exit code is %s', async (_name, close, code) => {
    const { child, said } = run(serving(close));
    await said('up');
    child.kill('SIGTERM');
    expect(await exitOf(child)).toBe(code);
  });

  it('the second ends the process at once', async () => {
    const { child, said } = run(serving("() => { console.log('draining'); return new Promise(() => {}); }"));
    await said('up');
    child.kill('SIGTERM');
    await said('draining');
    child.kill('SIGINT');
    expect(await exitOf(child)).toBe(1);
  });
});
