import { existsSync, globSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Drill } from '../harness/drill.ts';
import { several } from '../harness/witness.ts';

/** Debian's package libfaketime. */
const LIBRARY = ['/usr/lib/*/faketime/libfaketime.so.1', '/usr/lib/faketime/libfaketime.so.1'].flatMap((pattern) =>
  globSync(pattern),
)[0];

/** Offsets of the wall clock, one after the other: what an administrator, a lost battery or a resumed machine does. */
const JUMPS = ['+0', '+1h', '-1h', '+400d', '-400d', '+20y', '-30y', '+0'];
const REQUESTS = 4;

export const clock: Drill = {
  name: 'clock',
  attack: 'a wall clock that jumps by hours and years, forward and back, under requests',
  skip: () => (LIBRARY && existsSync(LIBRARY) ? undefined : 'libfaketime is not installed'),
  async run({ start, folder }, scale) {
    const file = join(folder, 'clock');
    const set = (offset: string) => {
      writeFileSync(`${file}.new`, `${offset}\n`);
      renameSync(`${file}.new`, file);
    };
    set('+0');
    const server = await start({
      env: {
        LD_PRELOAD: LIBRARY!,
        FAKETIME_TIMESTAMP_FILE: file,
        FAKETIME_NO_CACHE: '1',
        // Only the wall clock jumps; the kernel's steady clock does not.
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
        FAKETIME_DONT_RESET: '1',
        WINNOW_AUTH_REQUESTS_PER_MINUTE: '6000',
        WINNOW_EXPERIMENTS_DATABASE: join(folder, 'runs.sqlite'),
      },
    });
    const failures: string[] = [];
    const years = new Set<string>();
    let [tries, slowestMs] = [0, 0];
    for (const offset of Array.from({ length: scale }, () => JUMPS).flat()) {
      set(offset);
      // Node keeps the text of the Date header for a second.
      await delay(1200);
      const beside = await several(server.url, REQUESTS, 3000);
      tries += beside.requests;
      failures.push(...beside.failures.map((failure) => `${offset}: ${failure}`));
      slowestMs = Math.max(slowestMs, beside.slowestMs);
      const ready = await fetch(`${server.url}/health/ready`, { signal: AbortSignal.timeout(3000) });
      years.add(new Date(ready.headers.get('date') ?? 0).getUTCFullYear().toString());
      if (ready.status !== 200) failures.push(`${offset}: not ready: ${await ready.text()}`);
      else await ready.body?.cancel();
    }
    if (years.size < 3) failures.push(`expected the server's clock to jump, got the years ${[...years].join(', ')}`);
    return { tries, failures, seen: `slowest ${slowestMs.toFixed(0)} ms; years ${[...years].sort().join(', ')}` };
  },
};
