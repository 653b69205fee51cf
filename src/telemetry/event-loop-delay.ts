import { monitorEventLoopDelay } from 'node:perf_hooks';

/** Monitors the event loop's delay; `read` returns its quantiles in seconds since the last reading. */
export function watchEventLoop() {
  const resolution = 10;
  const delay = monitorEventLoopDelay({ resolution });
  delay.enable();
  // Node records the time between two ticks of a timer: the timer's own period is no delay.
  const seconds = (nanoseconds: number) => Math.max(0, nanoseconds / 1e9 - resolution / 1e3);
  return {
    read(): [quantile: string, seconds: number][] {
      const quantiles = [0.5, 0.9, 0.99].map((q): [string, number] => [String(q), seconds(delay.percentile(100 * q))]);
      quantiles.push(['1', seconds(delay.max)]);
      delay.reset();
      return quantiles;
    },
    close: () => {
      delay.disable();
    },
  };
}
