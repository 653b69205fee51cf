export interface BackOff {
  /** Wait after the second consecutive failure, in milliseconds; doubles with each further one. */
  readonly baseMs: number;
  /** The longest wait, in milliseconds. */
  readonly maxMs: number;
  /** A host that ran for so many milliseconds resets the count of failures. */
  readonly stableMs: number;
}

export const DEFAULT_BACK_OFF: BackOff = { baseMs: 100, maxMs: 30_000, stableMs: 30_000 };

/** Returns the milliseconds to wait before the next start after consecutive `failures`: 0 for the first, then doubling up to `maxMs`. */
export function restartDelay(failures: number, { baseMs, maxMs }: BackOff): number {
  return failures <= 1 ? 0 : Math.min(maxMs, baseMs * 2 ** (failures - 2));
}
