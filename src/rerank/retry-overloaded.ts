import { WinnowError } from '../errors.ts';
import type { Clock } from '../util/clock.ts';
import type { RequestScope } from './request-scope.ts';

/** Longest pause before a refused request is tried again. */
const LONGEST_PAUSE_MS = 5000;

function pause(clock: Clock, ms: number, scope: RequestScope): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const cancel = clock.after(ms, resolve);
  return scope.guard(promise).finally(cancel);
}

/** Retries `work` until the scheduler has room for it, or the scope ends. */
export async function retryOverloaded<T>(clock: Clock, scope: RequestScope, work: () => Promise<T>): Promise<T> {
  for (;;)
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof WinnowError && error.code === 'overloaded')) throw error;
      await pause(clock, Math.min(LONGEST_PAUSE_MS, Number(error.params.seconds) * 1000), scope);
    }
}
