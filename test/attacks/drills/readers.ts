import { gzipSync } from 'node:zlib';
import type { Drill } from '../harness/drill.ts';
import { residentBytes, sampleBeside } from '../harness/memory.ts';
import { head, open } from '../harness/raw.ts';

const MIB = 2 ** 20;
const READERS = 60;

/** 30 MB of one text, 29 KB packed, whose answer holds the text again. */
const body = () =>
  gzipSync(JSON.stringify({ query: 'q', documents: ['x'.repeat(30_000_000)], return_documents: true }));

export const readers: Drill = {
  name: 'reader',
  attack: `${READERS} clients that ask for 30 MB each and read nothing`,
  async run({ server, growthMiB }, scale) {
    const failures: string[] = [];
    const packed = body();
    const before = residentBytes(server.pid);
    const sockets = Array.from({ length: READERS }, () => {
      const socket = open(server.url);
      socket.pause();
      socket.write(head('/v1/rerank', packed.length, { 'content-encoding': 'gzip' }));
      socket.write(packed);
      return socket;
    });
    const beside = await sampleBeside(server, 10 * scale);
    failures.push(...beside.failures);
    for (const socket of sockets) socket.destroy();
    const cost = (beside.mostBytes - before) / MIB;
    if (cost > growthMiB) failures.push(`expected at most ${growthMiB} MiB for all readers, got ${cost.toFixed(0)}`);
    return {
      tries: READERS,
      failures,
      seen: `${cost.toFixed(0)} MiB for all of them; slowest ordinary request ${beside.slowestMs.toFixed(0)} ms`,
    };
  },
};
