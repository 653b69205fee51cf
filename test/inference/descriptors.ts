/*
 * A process with a pool of one host that opens all the files it may, kills its host, waits for two failed starts, closes the files and scores a row
 * on the host that comes then. Prints what it saw.
 */
import { closeSync, openSync } from 'node:fs';
import { createHostPool } from '../../src/inference/host-pool.ts';
import type { LoadSpec } from '../../src/inference/inference-types.ts';
import { row } from './graphs.ts';

let pid = 0;
let failures = 0;
const failedTwice = Promise.withResolvers<void>();
const backOff = { baseMs: 20, maxMs: 20, stableMs: 1 };
const pool = await createHostPool({ provider: 'cpu', hosts: 1, threads: 1, backOff }, (event) => {
  if (event.kind === 'ready') pid = event.pid;
  if (event.kind === 'lost' && event.reason.includes('started no process') && ++failures === 2) failedTwice.resolve();
});
const spec = JSON.parse(process.argv[2]!) as LoadSpec;
await pool.load(spec);
const open: number[] = [];
try {
  for (;;) open.push(openSync('/dev/null', 'r'));
} catch {
  // All descriptors are taken.
}
process.kill(pid, 'SIGKILL');
await failedTwice.promise;
for (const descriptor of open) closeSync(descriptor);
const { scores } = await pool.run(spec.key, [row([1, 2, 3])]);
await pool.close();
process.stdout.write(JSON.stringify({ failedStarts: failures >= 2, scores: [...scores] }));
