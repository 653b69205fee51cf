import type { Logger } from '../telemetry/logger.ts';
import { within } from '../util/within.ts';

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
  const late = () => new Error(`closing was given up after ${limitMs} ms`);
  await within(limitMs, closeAll(cleanup), late).catch((error: unknown) =>
    logger.error({ err: error }, 'close failed'),
  );
}
