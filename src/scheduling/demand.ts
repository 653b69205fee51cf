import type { Clock } from '../util/clock.ts';
import type { WorkRate } from './queued-job.ts';
import type { Demand } from './scheduling-types.ts';

/*
 * How much work arrives, compared with what the runners can do: offered ÷ capacity over the last minute. Work that is refused counts like
 * work that is done, so that the ratio rises above 1 when a queue that refuses cannot grow any more.
 *
 * Offered work is kept as tokens and squared lengths for each model and valued when the ratio is read: by the cost model, times what the
 * batches of the same minute took relative to it. A cost model that learns therefore corrects what was offered before.
 *
 * Capacity is always that of a whole minute, also of a process that started less than a minute ago. A request then counts once, in one
 * process, for one minute, so that the sum over all processes of a service is its whole demand while processes are added.
 */

const SLOT_MS = 1000;
const SLOTS = 60;

/** One number for each second of the last minute. */
type Ring = Float64Array;

const newRing = (): Ring => new Float64Array(SLOTS);

function sum(ring: Ring): number {
  let total = 0;
  for (let i = 0; i < SLOTS; i++) total += ring[i]!;
  return total;
}

/** What one model was offered and what of it ran. */
interface ModelDemand {
  readonly tokens: Ring;
  readonly squares: Ring;
  readonly ranTokens: Ring;
  readonly ranSquares: Ring;
  readonly ranMs: Ring;
}

/** Something with a length in tokens. */
interface Sized {
  readonly length: number;
}

interface DemandOptions {
  readonly clock: Pick<Clock, 'now'>;
  /** Returns how many runners can run batches now. It is asked once a second at most. Without any, capacity counts as that of one. */
  readonly runners: () => number;
  /** Returns the present work rate of a model. */
  readonly rate: (key: string) => WorkRate;
}

/** Counts offered and done work over a sliding minute. Memory: 2.4 kB for each model in use and 1.4 kB; nothing is allocated for a request. */
export class DemandMeter implements Demand {
  readonly #options: DemandOptions;
  readonly #models = new Map<string, ModelDemand>();
  /** Runners in each second. */
  readonly #capacity = newRing();
  readonly #jobs = newRing();
  readonly #unread = newRing();
  #slot: number;
  #present = 1;

  constructor(options: DemandOptions) {
    this.#options = options;
    this.#slot = Math.floor(options.clock.now() / SLOT_MS);
    this.#look();
    this.#capacity.fill(this.#present);
  }

  /** Counts a job when it arrives, whatever becomes of it. */
  offer(key: string, rows: readonly { readonly ids: Sized }[]): void {
    if (rows.length === 0) return;
    const at = this.#advance();
    const { tokens, squares } = this.#of(key);
    for (let i = 0; i < rows.length; i++) {
      const { length } = rows[i]!.ids;
      tokens[at]! += length;
      squares[at]! += length * length;
    }
    this.#jobs[at]! += 1;
  }

  noteUnread(): void {
    this.#unread[this.#advance()]! += 1;
  }

  /** Counts a batch that took `ms` milliseconds of a runner. */
  ran(key: string, rows: readonly Sized[], ms: number): void {
    const at = this.#advance();
    const model = this.#of(key);
    for (let i = 0; i < rows.length; i++) {
      const { length } = rows[i]!;
      model.ranTokens[at]! += length;
      model.ranSquares[at]! += length * length;
    }
    model.ranMs[at]! += ms;
  }

  ratio(): number {
    this.#advance();
    let offered = 0;
    for (const [key, model] of this.#models) {
      const tokens = sum(model.tokens);
      const ranTokens = sum(model.ranTokens);
      if (tokens === 0 && ranTokens === 0) this.#models.delete(key);
      if (tokens === 0) continue;
      const { linear, square } = this.#options.rate(key);
      const ran = linear * ranTokens + square * sum(model.ranSquares);
      const pace = ran > 0 ? sum(model.ranMs) / ran : 1;
      offered += (linear * tokens + square * sum(model.squares)) * pace;
    }
    const jobs = sum(this.#jobs);
    const unread = jobs === 0 ? 0 : sum(this.#unread) / jobs;
    return (offered * (1 + unread)) / this.#capacityMs();
  }

  #capacityMs(): number {
    const now = this.#options.clock.now();
    const past = (sum(this.#capacity) - this.#present) * SLOT_MS;
    return past + this.#present * (now - this.#slot * SLOT_MS);
  }

  #of(key: string): ModelDemand {
    let model = this.#models.get(key);
    if (!model) {
      model = {
        tokens: newRing(),
        squares: newRing(),
        ranTokens: newRing(),
        ranSquares: newRing(),
        ranMs: newRing(),
      };
      this.#models.set(key, model);
    }
    return model;
  }

  /** Empties the slots of the seconds that have begun since the last call. Returns the present slot. */
  #advance(): number {
    const slot = Math.floor(this.#options.clock.now() / SLOT_MS);
    if (slot > this.#slot) {
      const before = this.#present;
      const first = Math.max(this.#slot + 1, slot - SLOTS + 1);
      for (let s = first; s <= slot; s++) this.#begin(s % SLOTS, before);
      this.#slot = slot;
      this.#look();
    }
    return this.#slot % SLOTS;
  }

  #begin(at: number, runners: number): void {
    this.#capacity[at] = runners;
    this.#jobs[at] = 0;
    this.#unread[at] = 0;
    for (const { tokens, squares, ranTokens, ranSquares, ranMs } of this.#models.values()) {
      tokens[at] = 0;
      squares[at] = 0;
      ranTokens[at] = 0;
      ranSquares[at] = 0;
      ranMs[at] = 0;
    }
  }

  #look(): void {
    this.#present = Math.max(1, this.#options.runners());
    this.#capacity[this.#slot % SLOTS] = this.#present;
  }
}
