import { lstat, readdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { isRunning } from './processes.ts';

/*
 * A process that is killed leaves its temporary files and folders. The next process that writes into the same folder removes them: those of
 * our own naming and user, unchanged for an hour, whose process is gone.
 */

const HOUR_MS = 3_600_000;

/** Names of `replaceAtomic` and of `temporaryFolder`, with the process id. */
const NAMES = [/^\..+\.(\d+)\.[0-9a-f]{8}\.tmp$/, /^winnow-[a-z]+-(\d+)-\w{6}$/];

/** Returns the process id in a name of ours. */
function writerOf(name: string): number | undefined {
  const found = NAMES.map((pattern) => pattern.exec(name)?.[1]).find((pid) => pid !== undefined);
  return found === undefined ? undefined : Number(found);
}

/** Returns when a file, or anything in a folder, was last changed. */
async function lastChange(path: string): Promise<number> {
  const own = await lstat(path);
  if (!own.isDirectory()) return own.mtimeMs;
  const inside = await readdir(path, { recursive: true });
  const times = await Promise.all(inside.map(async (name) => (await lstat(join(path, name))).mtimeMs));
  return Math.max(own.mtimeMs, ...times);
}

async function isLeftOver(path: string, pid: number): Promise<boolean> {
  const { uid } = await lstat(path);
  if (uid !== process.getuid?.()) return false;
  // Containers start with the same ids: with this process's own id, what is older than it is of an earlier one.
  const running = pid === process.pid ? process.uptime() * 1000 : isRunning(pid) ? Number.POSITIVE_INFINITY : 0;
  return Date.now() - (await lastChange(path)) > Math.max(HOUR_MS, running);
}

const swept = new Set<string>();

/** Removes what killed processes left in a folder, on the first call for it. What cannot be looked at or removed stays. */
export async function sweepLeftovers(folder: string): Promise<void> {
  const place = resolve(folder);
  if (swept.has(place)) return;
  swept.add(place);
  for (const name of await readdir(place).catch(() => [])) {
    const pid = writerOf(name);
    if (pid === undefined) continue;
    const path = join(place, name);
    // Another process may sweep the same folder.
    const isOurs = await isLeftOver(path, pid).catch(() => false);
    if (isOurs) await rm(path, { recursive: true, force: true }).catch(() => undefined);
  }
}
