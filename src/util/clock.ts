/** A source of time and timers, so that tests and simulations can replace both. */
export interface Clock {
  /** Returns the time in milliseconds. */
  now(): number;
  /** Calls `call` once after `ms` milliseconds. The returned function cancels the call. */
  after(ms: number, call: () => void): () => void;
}

/** The longest delay of a Node timer, in milliseconds; a longer one would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

function startTimer(ms: number, call: () => void): NodeJS.Timeout {
  return setTimeout(call, Math.min(Math.max(0, ms), LONGEST_TIMER_MS));
}

/** A monotonic clock, for durations and deadlines. Its timers keep the process alive. */
export const monotonicClock: Clock = {
  now: () => performance.now(),
  after(ms, call) {
    const timer = startTimer(ms, call);
    return () => clearTimeout(timer);
  },
};

/**
 * Returns milliseconds since 1970 as the process has counted them since its start. A system clock that is set anew does not change it, so it
 * orders events and measures pauses, and can be shown.
 */
export const steadyNow = (): number => performance.timeOrigin + performance.now();

/** A clock in milliseconds since 1970, for times that are stored or shown. Its timers do not keep the process alive. */
export const wallClock: Clock = {
  now: () => Date.now(),
  after(ms, call) {
    const timer = startTimer(ms, call).unref();
    return () => clearTimeout(timer);
  },
};
