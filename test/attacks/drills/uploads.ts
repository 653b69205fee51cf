import type { Drill } from '../harness/drill.ts';
import { residentBytes, sampleBeside } from '../harness/memory.ts';
import { exchange, head, open } from '../harness/raw.ts';

const MIB = 2 ** 20;
const UPLOADS = 100;

export const uploads: Drill = {
  name: 'upload',
  attack: `${UPLOADS} uploads of 30 MB that stop four bytes early, and refused ones`,
  async run({ server, growthMiB }, scale) {
    const failures: string[] = [];
    const text = Buffer.from(JSON.stringify({ query: 'q', texts: ['x'.repeat(30_000_000)] }));
    const before = residentBytes(server.pid);
    const sockets = Array.from({ length: UPLOADS }, () => {
      const socket = open(server.url);
      socket.resume();
      socket.write(head('/rerank', text.length));
      socket.write(text.subarray(0, text.length - 4));
      return socket;
    });
    const beside = await sampleBeside(server, 8 * scale);
    failures.push(...beside.failures);
    for (const socket of sockets) socket.destroy();
    // A refused upload gets its status before the connection closes.
    const refused = await exchange(server.url, head('/rerank', 100 * MIB, { connection: 'close' }), text);
    if (refused.status !== 413) failures.push(`expected 413 for a body of 100 MiB, got ${refused.status}`);
    const cost = (beside.mostBytes - before) / MIB;
    if (cost > growthMiB) failures.push(`expected at most ${growthMiB} MiB for all uploads, got ${cost.toFixed(0)}`);
    return {
      tries: UPLOADS + 1,
      failures,
      seen: `${cost.toFixed(0)} MiB for all of them; slowest ordinary request ${beside.slowestMs.toFixed(0)} ms`,
    };
  },
};
