import { percentile } from './figures.ts';

/** Milliseconds between two looks. */
const EVERY_MS = 5;

/** How long the event loop was kept from a timer by its own work, in milliseconds. */
export interface OwnDelay {
  readonly p99: number;
  readonly max: number;
}

/**
 * Watches how much processor time this thread spends between two ticks of a timer of 5 ms. More than that is work which delayed the timer; time in
 * which another program had the processor does not count. Returns a function that reads the delays since the last reading.
 */
export function watchOwnDelay(): () => OwnDelay {
  let delays: number[] = [];
  let before = ownMs();
  setInterval(() => {
    const now = ownMs();
    delays.push(Math.max(0, now - before - EVERY_MS));
    before = now;
  }, EVERY_MS).unref();
  return () => {
    const read = { p99: percentile(delays, 99), max: Math.max(0, ...delays.slice(-50_000)) };
    delays = [];
    return read;
  };
}

function ownMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
