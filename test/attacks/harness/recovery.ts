import { setTimeout as delay } from 'node:timers/promises';
import type { ServerProcess } from '../../../bench/load/server.ts';

/** After SIGTERM the process is gone within this time, in milliseconds. */
const END_MS = 20_000;

/** Returns the milliseconds until `isThere` resolves to true; undefined where it does not within `limitMs`. */
export async function msUntil(
  isThere: () => Promise<boolean>,
  { limitMs, everyMs = 100 }: { readonly limitMs: number; readonly everyMs?: number },
): Promise<number | undefined> {
  const start = performance.now();
  while (performance.now() - start < limitMs) {
    if (await isThere()) return performance.now() - start;
    await delay(everyMs);
  }
  return undefined;
}

/** Stops a server and returns the milliseconds it takes. @param failures receives a line where that is too long. */
export async function stopMs(server: ServerProcess, failures: string[]): Promise<number> {
  const start = performance.now();
  await server.stop();
  const ms = performance.now() - start;
  if (ms > END_MS) failures.push(`it took ${ms.toFixed(0)} ms to end after SIGTERM`);
  return ms;
}
