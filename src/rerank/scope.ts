import { WinnowError } from '../errors.ts';
import type { Clock } from '../util/clock.ts';

/** The time one request has, and whether anybody still waits for it. */
export interface RequestScope {
  readonly startedAt: number;
  /** On the clock. */
  readonly deadline: number;
  /** Aborts with the WinnowError the request ends with. */
  readonly signal: AbortSignal;
  /** The promise's value, or the request's end if that comes first; `late` gets a value nobody waits for any more. */
  guard<T>(promise: Promise<T>, late?: (value: T) => void): Promise<T>;
  close(): void;
}

/**
 * Opens the scope of a request that has `deadlineMs` from now (Infinity: for ever).
 * @throws WinnowError `client_closed` where the client has gone already.
 */
export function openScope(clock: Clock, deadlineMs: number, client?: AbortSignal): RequestScope {
  if (client?.aborted) throw new WinnowError('client_closed');
  const startedAt = clock.now();
  const controller = new AbortController();
  const { signal } = controller;
  const leave = () => controller.abort(new WinnowError('client_closed'));
  client?.addEventListener('abort', leave, { once: true });
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
      client?.removeEventListener('abort', leave);
      disarm();
    },
  };
}
