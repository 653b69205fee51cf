import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { LoopDelay } from './types.ts';

const RESOLUTION_MS = 10;
/** After this time without a reading, monitoring stops. */
const IDLE_MS = 30_000;

/**
 * Monitors the delay of this process's event loop, only while readings are taken. Metrics have a monitor of their own: readings here must not
 * reset the histogram of the next scrape.
 */
export class LoopDelayWatch {
  #monitor: ReturnType<typeof monitorEventLoopDelay> | undefined;
  #idle: NodeJS.Timeout | undefined;

  /** Returns the delay since the last reading; zeros at the first one. */
  read(): LoopDelay {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.close(), IDLE_MS).unref();
    if (!this.#monitor) {
      this.#monitor = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
      this.#monitor.enable();
      return { p50: 0, p99: 0, max: 0 };
    }
    const monitor = this.#monitor;
    // Node records the time between two ticks of a timer: the timer's own period is no delay.
    const ms = (nanoseconds: number) =>
      Number.isFinite(nanoseconds) ? Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS) : 0;
    const delay = { p50: ms(monitor.percentile(50)), p99: ms(monitor.percentile(99)), max: ms(monitor.max) };
    monitor.reset();
    return delay;
  }

  close(): void {
    clearTimeout(this.#idle);
    this.#monitor?.disable();
    this.#monitor = undefined;
  }
}
