import { writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { rewriteGraph } from './rewrite-graph.ts';
import type { RewriteJob } from './rewrite-types.ts';

/*
 * The child process that rewrites one graph: the front process never loads the engine, and a graph that ends the engine ends this process
 * alone. It ends with its parent's channel.
 */

/** Below the hosts that serve. */
const NICENESS = 10;

try {
  setPriority(NICENESS);
  // Where memory runs out, the kernel should end this process first.
  writeFileSync('/proc/self/oom_score_adj', '1000');
} catch {
  // Not Linux, or not permitted: the work is the same.
}

process.on('disconnect', () => process.exit(1));
process.once('message', async (job) => {
  const outcome = await rewriteGraph(job as RewriteJob);
  process.send!(outcome, () => process.exit(0));
});
