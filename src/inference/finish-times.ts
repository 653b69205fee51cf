/** Weight of the last batch in a host's pace. */
const NEWEST = 0.1;
/** A host counts as slower or faster than predicted from this ratio on; less is the noise of a busy machine. */
const CLEAR = 1.5;

/**
 * Predicts when a host would finish one more batch. Predictions are learned over all hosts together, so each host has a pace: how much
 * longer its batches take than predicted. Devices of one machine may differ in speed, and others may use one of them.
 */
export class FinishTimes {
  readonly #paces = new Map<number, number>();

  /** Takes note of a batch that a host answered. */
  observe(host: number, predictedMs: number | undefined, inferMs: number): void {
    if (!(predictedMs !== undefined && predictedMs > 0 && inferMs > 0)) return;
    const pace = this.#paces.get(host) ?? 1;
    const ratio = Math.min(Math.max(inferMs / predictedMs, 1 / 16), 16);
    this.#paces.set(host, pace * (ratio / pace) ** NEWEST);
  }

  /** Returns the milliseconds that a batch should take on a host. */
  batchMs(host: number, predictedMs: number): number {
    const pace = this.#paces.get(host) ?? 1;
    return pace > CLEAR || pace < 1 / CLEAR ? predictedMs * pace : predictedMs;
  }

  /** Returns the milliseconds until a host would have finished one more batch; NaN where that cannot be predicted. */
  finishMs(host: { readonly index: number; readonly remainingMs: number }, predictedMs = Number.NaN): number {
    return host.remainingMs + this.batchMs(host.index, predictedMs);
  }
}
