import { type Clock, monotonicClock } from '../util/clock.ts';

const SECONDS = 60;

/** Milliseconds of work in each second of the last minute. */
interface Minute {
  readonly ms: Float64Array;
  /** The second that was written last. */
  at: number;
}

/** The share of the last minute that each host was busy. */
export class BusyHosts {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #startedAt: number;
  readonly #minutes: Minute[] = [];

  constructor(hosts: number, clock: Pick<Clock, 'now'> = monotonicClock) {
    this.#clock = clock;
    this.#startedAt = clock.now();
    if (hosts > 0) this.#minute(hosts - 1);
  }

  /** Adds work that ended now and lasted `ms` milliseconds, to the seconds in which it was done. */
  add(host: number, ms: number): void {
    const end = this.#clock.now();
    const minute = this.#minute(host);
    this.#advance(minute);
    const begin = Math.max(end - ms, this.#from(end));
    for (let second = Math.floor(begin / 1000); second <= Math.floor(end / 1000); second++) {
      const part = Math.min(end, 1000 * (second + 1)) - Math.max(begin, 1000 * second);
      minute.ms[second % SECONDS]! += part;
    }
  }

  /** Returns the share of each host, from 0 to 1; of the time since the start in the first minute. */
  ratios(): readonly number[] {
    const now = this.#clock.now();
    const past = now - this.#from(now);
    return this.#minutes.map((minute) => {
      this.#advance(minute);
      const busy = minute.ms.reduce((sum, ms) => sum + ms, 0);
      return past > 0 ? Math.min(1, busy / past) : 0;
    });
  }

  /** When the oldest second that counts began, or the process if that was later. */
  #from(now: number): number {
    return Math.max(this.#startedAt, 1000 * (Math.floor(now / 1000) - SECONDS + 1));
  }

  #minute(host: number): Minute {
    while (this.#minutes.length <= host)
      this.#minutes.push({ ms: new Float64Array(SECONDS), at: Math.floor(this.#clock.now() / 1000) });
    return this.#minutes[host]!;
  }

  /** Empties the seconds between the last write and now, whose places hold work of a minute ago. */
  #advance(minute: Minute): void {
    const now = Math.floor(this.#clock.now() / 1000);
    for (let second = Math.max(minute.at, now - SECONDS) + 1; second <= now; second++) minute.ms[second % SECONDS] = 0;
    minute.at = now;
  }
}
