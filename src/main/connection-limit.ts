import { readFileSync } from 'node:fs';

/** Descriptors kept for hosts, files, the database and the page watcher. */
const RESERVE = 256;
/** The most connections, whatever the limit of descriptors: each costs memory. */
const MAX_CONNECTIONS = 16_384;

/** Reads the soft limit of open files of this process; undefined where the system does not give it. */
function descriptorLimit(): number | undefined {
  try {
    const found = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    return found === undefined ? undefined : Number(found);
  } catch {
    return undefined;
  }
}

/**
 * Returns how many connections may be open at once: the configured number, or the limit of open files less a reserve of a quarter, at least
 * 256. The reserve leaves descriptors for starting hosts and opening files.
 * @param configured 0 leaves the number to the limit of open files.
 */
export function connectionLimit(configured: number, descriptors = descriptorLimit()): number {
  if (configured > 0) return configured;
  if (descriptors === undefined) return MAX_CONNECTIONS;
  const reserve = Math.max(RESERVE, Math.floor(descriptors / 4));
  return Math.max(16, Math.min(MAX_CONNECTIONS, descriptors - reserve));
}
