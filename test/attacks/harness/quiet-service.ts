import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { startServerProcess } from '../../../bench/load/server.ts';
import { MODELS } from '../../../bench/load/shipped.ts';
import { ordinary } from './witness.ts';

/* Serves one request, verifies the shipped models beside it, and serves on until SIGTERM: what the drill `dns` listens to. */

const WINNOW = join(import.meta.dirname, '../../../bin/winnow.mjs');
const terminated = once(process, 'SIGTERM');
// A listener of a signal does not keep a process.
const alive = setInterval(() => undefined, 60_000);
const env = { WINNOW_MODELS: MODELS };
const server = await startServerProcess({
  command: [process.execPath, WINNOW, 'serve', '--host', '127.0.0.1'],
  cwd: process.cwd(),
  env,
});
const answer = await ordinary(server.url, 30_000);
const verify = spawn(process.execPath, [WINNOW, 'models', 'verify'], {
  env: { ...process.env, ...env },
  stdio: 'ignore',
});
const [verified] = await once(verify, 'exit');
await terminated;
clearInterval(alive);
console.log(
  JSON.stringify({ answered: typeof answer === 'number' ? true : answer, verified, ended: await server.stop() }),
);
