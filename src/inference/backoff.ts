export interface BackOff {
  /** Wait after the second failure in a row, in milliseconds. */
  readonly baseMs: number;
  readonly maxMs: number;
  /** A host that lived this long clears the count of failures. */
  readonly stableMs: number;
}

export const DEFAULT_BACK_OFF: BackOff = { baseMs: 100, maxMs: 30_000, stableMs: 30_000 };

/** Milliseconds to wait before the next start after `failures` in a row: none for the first, then doubling up to the limit. */
export function restartDelay(failures: number, { baseMs, maxMs }: BackOff): number {
  return failures <= 1 ? 0 : Math.min(maxMs, baseMs * 2 ** (failures - 2));
}
