import { WinnowError } from '../errors.ts';
import type { Clock } from '../util/clock.ts';

/** Deadline and cancellation of one request. */
export interface RequestScope {
  /** By the scheduler's clock, in milliseconds. */
  readonly startedAt: number;
  readonly deadline: number;
  /** Aborts with the WinnowError that ends the request. */
  readonly signal: AbortSignal;
  /** Resolves to the promise's value, or rejects if the request ends first; `late` then receives the value. */
  guard<T>(promise: Promise<T>, late?: (value: T) => void): Promise<T>;
  close(): void;
}

/**
 * Opens the scope of a request that may take `deadlineMs` milliseconds from now (Infinity: no deadline).
 * @param client aborts when the client closes the connection.
 * @throws WinnowError `client_closed` where `client` has aborted already.
 */
export function openScope(clock: Clock, deadlineMs: number, client?: AbortSignal): RequestScope {
  if (client?.aborted) throw new WinnowError('client_closed');
  const startedAt = clock.now();
  const controller = new AbortController();
  const { signal } = controller;
  const onClientClosed = () => controller.abort(new WinnowError('client_closed'));
  client?.addEventListener('abort', onClientClosed, { once: true });
  const expire = () => controller.abort(new WinnowError('deadline_exceeded', { deadlineMs }));
  const disarm = deadlineMs < Number.POSITIVE_INFINITY ? clock.after(deadlineMs, expire) : () => {};
  return {
    startedAt,
    deadline: startedAt + deadlineMs,
    signal,
    guard<T>(promise: Promise<T>, late?: (value: T) => void): Promise<T> {
      const { promise: ended, resolve, reject } = Promise.withResolvers<T>();
      const end = () => reject(signal.reason);
      if (signal.aborted) end();
      else signal.addEventListener('abort', end, { once: true });
      promise.then(
        (value) => {
          signal.removeEventListener('abort', end);
          if (signal.aborted) late?.(value);
          else resolve(value);
        },
        (error: unknown) => {
          signal.removeEventListener('abort', end);
          reject(error);
        },
      );
      return ended;
    },
    close() {
      client?.removeEventListener('abort', onClientClosed);
      disarm();
    },
  };
}
