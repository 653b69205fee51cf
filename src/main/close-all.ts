import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../telemetry/logger.ts';

/**
 * Calls what was deferred to a stack of disposables: in the opposite order, once, and all of it, whatever fails.
 * @throws the first failure, after the last call.
 */
export async function closeAll(cleanup: AsyncDisposableStack): Promise<void> {
  try {
    await cleanup.disposeAsync();
  } catch (error) {
    let first = error;
    while (first instanceof SuppressedError) first = first.suppressed;
    throw first;
  }
}

/** Calls what was deferred, and stops waiting after so many milliseconds: what hangs then ends with the process. A failure is logged. */
export async function closeWithin(limitMs: number, cleanup: AsyncDisposableStack, logger: Logger): Promise<void> {
  const timer = new AbortController();
  const closed = closeAll(cleanup).catch((error: unknown) => logger.error({ err: error }, 'close failed'));
  const late = delay(limitMs, 'late' as const, { signal: timer.signal }).catch(() => undefined);
  if ((await Promise.race([closed, late])) === 'late') logger.error({ limitMs }, 'closing was given up');
  timer.abort();
}
