import { setTimeout as sleep } from 'node:timers/promises';

/** An error after which the same work may succeed. */
export class RetriableError extends Error {
  /** Milliseconds to wait before the next attempt, if the other side asked for it. */
  readonly afterMs: number | undefined;

  constructor(message: string, { afterMs, ...options }: ErrorOptions & { readonly afterMs?: number | undefined } = {}) {
    super(message, options);
    this.afterMs = afterMs;
  }
}

interface RetryOptions {
  /** Number of attempts, the first included. */
  readonly attempts: number;
  /** Milliseconds before the second attempt; doubles with each further one. */
  readonly firstPauseMs: number;
  /** The longest of these pauses. Default: no limit. */
  readonly longestPauseMs?: number;
  /** Waits between attempts. Default: a timer. */
  readonly wait?: ((ms: number) => Promise<unknown>) | undefined;
}

/**
 * Runs `work` again after each RetriableError. Waits before each attempt as long as the error asks for, else a time that doubles.
 * @throws RetriableError of the last attempt; any other error at once.
 */
export async function retry<T>(work: () => Promise<T>, options: RetryOptions): Promise<T> {
  const { attempts, firstPauseMs, longestPauseMs = Number.POSITIVE_INFINITY, wait = (ms) => sleep(ms) } = options;
  for (let attempt = 1; ; attempt++)
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof RetriableError) || attempt >= attempts) throw error;
      await wait(error.afterMs ?? Math.min(longestPauseMs, firstPauseMs * 2 ** (attempt - 1)));
    }
}

/** Returns the milliseconds of a `Retry-After` header, which gives seconds or a date (RFC 9110, 10.2.3). */
export function retryAfterMs(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  const seconds = Number(header);
  if (header.trim() !== '' && Number.isFinite(seconds)) return Math.max(0, seconds * 1000);
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
