import { type Clock, monotonicClock } from '../util/clock.ts';

const MINUTE_MS = 60_000;

/** Accounts remembered at once. Beyond it the one whose minute began first is forgotten. */
const MAX_ACCOUNTS = 10_000;

interface Minute {
  readonly endsAt: number;
  spent: number;
}

/** Limits what each account spends in a minute, which begins with the first spending; 0 means no limit. */
export class MinuteBudget {
  readonly limit: number;
  readonly #clock: Pick<Clock, 'now'>;
  /** In the order in which the minutes began. */
  readonly #minutes = new Map<string, Minute>();

  constructor(limit: number, clock: Pick<Clock, 'now'> = monotonicClock) {
    this.limit = limit;
    this.#clock = clock;
  }

  /** Returns the seconds after which `amount` may be spent; 0: at once. */
  waitFor(account: string, amount: number): number {
    if (this.limit === 0) return 0;
    const now = this.#clock.now();
    this.#forget(now);
    const minute = this.#minutes.get(account);
    if ((minute?.spent ?? 0) + amount <= this.limit) return 0;
    return minute ? Math.max(1, Math.ceil((minute.endsAt - now) / 1000)) : MINUTE_MS / 1000;
  }

  /** Spends an amount, beyond the limit too. */
  spend(account: string, amount: number): void {
    if (this.limit === 0) return;
    const now = this.#clock.now();
    this.#forget(now);
    const minute = this.#minutes.get(account);
    if (minute) minute.spent += amount;
    else this.#minutes.set(account, { endsAt: now + MINUTE_MS, spent: amount });
  }

  #forget(now: number): void {
    for (const [account, { endsAt }] of this.#minutes) {
      if (endsAt > now && this.#minutes.size <= MAX_ACCOUNTS) return;
      this.#minutes.delete(account);
    }
  }
}
