import { STABLE } from './labels.ts';
import { compareVersions } from './model-names.ts';

/* Decisions of the registry without state: which version serves a request, and which versions are unloaded for memory. */

/** The facts of a version that routing uses. */
export interface Routable {
  readonly version: string;
  readonly refused: boolean;
  /** Whether it was unloaded by request; it is not served until a request loads it. */
  readonly stopped: boolean;
}

/**
 * Returns the versions that may answer a request, best first. With a label, only the version it points to. Without one, the version of the
 * label `stable`; if there is no such label, every version that is neither refused nor stopped, newest first.
 */
export function candidates(
  versions: readonly Routable[],
  labels: ReadonlyMap<string, string>,
  label: string | undefined,
): readonly string[] {
  const pointed = labels.get(label ?? STABLE);
  if (pointed !== undefined) return versions.some((v) => v.version === pointed) ? [pointed] : [];
  if (label !== undefined) return [];
  return versions
    .filter((v) => !v.refused && !v.stopped)
    .map((v) => v.version)
    .sort(compareVersions);
}

/** The facts of a loaded version that decide whether it is unloaded for memory. */
export interface EvictionCandidate {
  readonly bytes: number;
  readonly lastUsed: number;
  readonly inUse: boolean;
  readonly pinned: boolean;
}

/**
 * Returns the versions to unload so that `needed` more bytes fit into the budget: the least recently used first, none that is pinned or in
 * use. Undefined if unloading all of them is not enough.
 */
export function evictions<Version extends EvictionCandidate>(
  loaded: readonly Version[],
  needed: number,
  budget: number,
): readonly Version[] | undefined {
  let over = loaded.reduce((sum, r) => sum + r.bytes, needed) - budget;
  const evicted: Version[] = [];
  const free = loaded.filter((r) => !r.pinned && !r.inUse).sort((a, b) => a.lastUsed - b.lastUsed);
  for (const version of free) {
    if (over <= 0) break;
    over -= version.bytes;
    evicted.push(version);
  }
  return over <= 0 ? evicted : undefined;
}
