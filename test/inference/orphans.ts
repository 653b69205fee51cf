/* A process with a pool, which prints its hosts' ids and then waits to be killed. */
import { createHostPool } from '../../src/inference/host-pool.ts';
import type { LoadSpec } from '../../src/inference/inference-types.ts';

const pids: number[] = [];
const pool = await createHostPool({ provider: 'cpu', hosts: 2, threads: 1 }, (event) => {
  if (event.kind === 'ready') pids.push(event.pid);
});
await pool.load(JSON.parse(process.argv[2]!) as LoadSpec);
process.stdout.write(JSON.stringify(pids));
