import { WinnowError } from '../errors.ts';
import type { Clock } from '../util/clock.ts';

/** A time in which no inference host can run a batch. */
export interface OutageFacts {
  /** Milliseconds since the last host ended. */
  readonly ageMs: number;
  /** Whether it has lasted longer than a host needs to be replaced. */
  readonly isOverGrace: boolean;
  /** Why the last host ended or did not start. */
  readonly reason: string;
}

/** Makes the error of what waits for a host. */
export const noHost = ({ ageMs, reason }: OutageFacts): WinnowError =>
  new WinnowError('no_host', { outageSeconds: Math.ceil(ageMs / 1000), reason });

interface OutageOptions {
  /** Milliseconds in which hosts may be replaced before anything is given up. */
  readonly graceMs: number;
  readonly clock: Clock;
  /** Called once an outage is over its grace. */
  readonly onOverGrace: (facts: OutageFacts) => void;
}

/** Follows whether any host can run batches, so that the loss of all of them becomes a fact only when it outlasts a replacement. */
export class Outage {
  readonly #options: OutageOptions;
  #since: number | undefined;
  #isOverGrace = false;
  #reason = '';
  #cancelTimer: (() => void) | undefined;

  constructor(options: OutageOptions) {
    this.#options = options;
  }

  /** Returns the outage that lasts, if any. */
  get facts(): OutageFacts | undefined {
    if (this.#since === undefined) return undefined;
    const ageMs = this.#options.clock.now() - this.#since;
    return { ageMs, isOverGrace: this.#isOverGrace, reason: this.#reason };
  }

  /** Notes that no host runs, or another reason why none does. */
  begin(reason: string): void {
    this.#reason = reason;
    if (this.#since !== undefined) return;
    this.#since = this.#options.clock.now();
    this.#cancelTimer = this.#options.clock.after(this.#options.graceMs, () => {
      this.#cancelTimer = undefined;
      this.giveUp();
    });
  }

  /** Ends the grace: now, where no start is likely to succeed. */
  giveUp(): void {
    if (this.#since === undefined || this.#isOverGrace) return;
    this.#stopTimer();
    this.#isOverGrace = true;
    const { facts } = this;
    if (facts) this.#options.onOverGrace(facts);
  }

  /** Notes that a host runs, or that none is to run any more. */
  end(): void {
    this.#stopTimer();
    this.#since = undefined;
    this.#isOverGrace = false;
  }

  #stopTimer(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }
}
