import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import type { Drill } from '../harness/drill.ts';
import { residentBytes } from '../harness/memory.ts';
import { head, open } from '../harness/raw.ts';
import { ordinary } from '../harness/witness.ts';

const MIB = 2 ** 20;
const READERS = 60;

/** 30 MB of one text, 29 KB packed, whose answer holds the text again. */
const body = () =>
  gzipSync(JSON.stringify({ query: 'q', documents: ['x'.repeat(30_000_000)], return_documents: true }));

export const readers: Drill = {
  name: 'reader',
  attack: `${READERS} clients that ask for 30 MB each and read nothing`,
  async run({ server }, scale) {
    const failures: string[] = [];
    const packed = body();
    const before = residentBytes(server.pid);
    let most = before;
    const sockets = Array.from({ length: READERS }, () => {
      const socket = open(server.url);
      socket.pause();
      socket.write(head('/v1/rerank', packed.length, { 'content-encoding': 'gzip' }));
      socket.write(packed);
      return socket;
    });
    let slowest = 0;
    for (let i = 0; i < 10 * scale; i++) {
      const seen = await ordinary(server.url, 5000);
      if (typeof seen === 'string') failures.push(seen);
      else slowest = Math.max(slowest, seen);
      most = Math.max(most, residentBytes(server.pid));
      await delay(500);
    }
    for (const socket of sockets) socket.destroy();
    const cost = (most - before) / MIB;
    if (cost > 600) failures.push(`expected at most 600 MiB for all readers, got ${cost.toFixed(0)}`);
    return {
      tries: READERS,
      failures,
      seen: `${cost.toFixed(0)} MiB for all of them; slowest ordinary request ${slowest.toFixed(0)} ms`,
    };
  },
};
