import { readFileSync } from 'node:fs';

/** Descriptors that hosts, files, the database and the page watcher may need beside connections. */
const RESERVE = 256;
/** More connections than this cost more memory than they are worth, whatever the limit of descriptors. */
const MOST = 16_384;

/** The soft limit of open files of this process; undefined where the system does not say. */
function descriptorLimit(): number | undefined {
  try {
    const found = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    return found === undefined ? undefined : Number(found);
  } catch {
    return undefined;
  }
}

/**
 * Returns how many connections may be open at once: what the setting says, or the limit of open files less a reserve of a quarter, at least
 * 256, so that accepting connections never keeps a host from being started or a file from being opened.
 */
export function connectionLimit(set: number, descriptors = descriptorLimit()): number {
  if (set > 0) return set;
  if (descriptors === undefined) return MOST;
  const reserve = Math.max(RESERVE, Math.floor(descriptors / 4));
  return Math.max(16, Math.min(MOST, descriptors - reserve));
}
