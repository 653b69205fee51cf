import { gzipSync } from 'node:zlib';
import type { Drill } from '../harness/drill.ts';
import { exchange, head } from '../harness/raw.ts';
import { several } from '../harness/witness.ts';

const MIB = 2 ** 20;

/** Bodies of a few kilobytes that unpack to millions of values, levels or keys. */
const BOMBS: Readonly<Record<string, () => Buffer>> = {
  'open brackets': () => gzipSync('['.repeat(16 * MIB)),
  'nested brackets': () => gzipSync(`{"query":"q","texts":${'['.repeat(4400)}${']'.repeat(4400)}}`),
  'empty arrays': () => gzipSync(`{"query":"q","texts":[${'[],'.repeat(8 * MIB)}[]]}`),
  'empty objects': () => gzipSync(`{"query":"q","texts":[${'{},'.repeat(8 * MIB)}{}]}`),
  'one key again and again': () => gzipSync(`{${'"a":1,'.repeat(4 * MIB)}"a":1}`),
  'many keys': () => gzipSync(`{${Array.from({ length: 900_000 }, (_, i) => `"k${i}":1`).join(',')}}`),
  'a long number': () => gzipSync(`{"query":"q","texts":["a"],"top_n":${'9'.repeat(20 * MIB)}}`),
  'white space': () => gzipSync(`{"query":"q",${' '.repeat(30 * MIB)}"texts":["a"]}`),
  'open objects': () => gzipSync('{"a":'.repeat(5 * MIB)),
};

export const jsonBombs: Drill = {
  name: 'json',
  attack: 'packed bodies of brackets, keys, numbers and white space, two at a time',
  async run({ server, patienceMs }, scale) {
    const failures: string[] = [];
    let tries = 0;
    let slowest = 0;
    for (const [name, make] of Object.entries(BOMBS)) {
      const bomb = make();
      const attack = Array.from({ length: 2 * scale }, () =>
        exchange(server.url, head('/rerank', bomb.length, { 'content-encoding': 'gzip', connection: 'close' }), bomb),
      );
      // Five ordinary requests beside the bombs, each within the target's patience.
      const beside = await several(server.url, 5, patienceMs);
      failures.push(...beside.failures.map((failure) => `${name}: ${failure}`));
      slowest = Math.max(slowest, beside.slowestMs);
      for (const { status, text } of await Promise.all(attack)) {
        tries++;
        if (status < 400 || status >= 500) failures.push(`${name}: ${status} ${text.slice(0, 200)}`);
      }
    }
    return { tries, failures, seen: `slowest ordinary request beside them ${slowest.toFixed(0)} ms` };
  },
};
