import { monitorEventLoopDelay } from 'node:perf_hooks';

/** Monitors the event loop's delay; `read` returns percentiles in seconds since the last reading. */
export function watchEventLoop() {
  const resolution = 10;
  const delay = monitorEventLoopDelay({ resolution });
  delay.enable();
  // Node records the time between two ticks of a timer: the timer's own period is no delay.
  const seconds = (nanoseconds: number) => Math.max(0, nanoseconds / 1e9 - resolution / 1e3);
  return {
    read(): [percentile: string, seconds: number][] {
      const percentiles = [50, 90, 99].map((p): [string, number] => [String(p), seconds(delay.percentile(p))]);
      percentiles.push(['100', seconds(delay.max)]);
      delay.reset();
      return percentiles;
    },
    close: () => {
      delay.disable();
    },
  };
}
