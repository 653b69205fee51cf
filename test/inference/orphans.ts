/* A process with a pool of two hosts, which prints their ids and then waits to be killed; with a number, while they run a slow graph for so many turns. */
import { createHostPool } from '../../src/inference/host-pool.ts';
import type { LoadSpec } from '../../src/inference/inference-types.ts';
import { row } from './graphs.ts';

const pids: number[] = [];
const pool = await createHostPool({ provider: 'cpu', hosts: 2, threads: 1 }, (event) => {
  if (event.kind === 'ready') pids.push(event.pid);
});
const spec = JSON.parse(process.argv[2]!) as LoadSpec;
await pool.load(spec);
// Turns of the slow graph on every host, so that each is inside a native call.
const turns = Number(process.argv[3] ?? 0);
if (turns > 0) for (let i = 0; i < pool.size; i++) pool.run(spec.key, [row([turns])]).catch(() => {});
process.stdout.write(JSON.stringify(pids));
