import { STABLE } from './labels.ts';
import { compareVersions } from './model-names.ts';

/*
 * Pure decisions of the registry: which version a request belongs to, and which ones leave the memory.
 */

/** A version as far as routing is concerned. */
export interface Routable {
  readonly version: string;
  readonly refused: boolean;
  /** Unloaded by request: not served until it is loaded by request. */
  readonly stopped: boolean;
}

/**
 * Versions a request may be answered by, best first. With a label exactly the one it points to; without one the label `stable`, else
 * every version that is neither refused nor stopped, newest first.
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

/** A loaded version as far as memory is concerned. */
export interface Resident {
  readonly bytes: number;
  readonly lastUsed: number;
  readonly inUse: boolean;
  readonly pinned: boolean;
}

/**
 * Which loaded versions leave so that `needed` more bytes fit into the budget: least recently used first, none that is pinned or in use.
 * Undefined where even all of them are not enough.
 */
export function evictions<R extends Resident>(
  residents: readonly R[],
  needed: number,
  budget: number,
): readonly R[] | undefined {
  let over = residents.reduce((sum, r) => sum + r.bytes, needed) - budget;
  const leaving: R[] = [];
  const free = residents.filter((r) => !r.pinned && !r.inUse).sort((a, b) => a.lastUsed - b.lastUsed);
  for (const resident of free) {
    if (over <= 0) break;
    over -= resident.bytes;
    leaving.push(resident);
  }
  return over <= 0 ? leaving : undefined;
}
